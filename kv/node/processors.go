package node

import (
	"os"
	"runtime"
)

// processorsVariable is the runtime's own: who sets it knows better.
const processorsVariable = "GOMAXPROCS"

// AddProcessor gives Go's scheduler one processor more than the cores it counts, and returns how many those are. It is for a process that is a store, and
// to be called once: one of its threads usually waits for the disk, in a direct write or a sync, and keeps its processor until the runtime notices, which takes
// longer than many such waits. Without one more a core idles meanwhile, although there is work for it. The environment's GOMAXPROCS stays as it is.
func AddProcessor() (cores int) {
	cores = runtime.GOMAXPROCS(0)
	if os.Getenv(processorsVariable) == "" {
		runtime.GOMAXPROCS(cores + 1)
	}
	return cores
}

// WithCores says how many cores the process may use, where that is not what Go's scheduler has.
func WithCores(n int) Option { return func(node *Node) { node.cores = n } }
