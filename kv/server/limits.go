package server

import (
	"fmt"
	"time"

	"github.com/shoal-kv/shoal/kv/engine"
)

// Limits bounds what one request and one stream may ask of the store. Zero fields take their defaults.
type Limits struct {
	// MaxKeySize is in bytes; default 8 KiB.
	MaxKeySize int
	// MaxEntrySize bounds the bytes of all keys and values of one write request, which becomes one raft entry; default 8 MiB.
	MaxEntrySize int
	// MaxScanRows bounds a scan's limit; default 10,240, which is what clients ask for at most.
	MaxScanRows int
	// MaxResponseSize bounds the keys and values of one answer, in bytes; default 256 MiB. A scan beyond it fails: a shorter page would say that the
	// region is exhausted.
	MaxResponseSize int
	// MaxStreamRequests bounds the unanswered commands of one BatchCommands stream; beyond it the stream is not read. Default 4096.
	MaxStreamRequests int
	// MaxStreamBytes bounds the bytes of requests that one stream has in work, and those of its answers that are not sent yet; default 64 MiB.
	MaxStreamBytes int
	// DrainTimeout is how long a stream waits for its last answers when the server stops; default 5 s.
	DrainTimeout time.Duration
}

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		field *int
		value int
	}{
		{&l.MaxKeySize, 8 << 10},
		{&l.MaxEntrySize, 8 << 20},
		{&l.MaxScanRows, 10240},
		{&l.MaxResponseSize, 256 << 20},
		{&l.MaxStreamRequests, 4096},
		{&l.MaxStreamBytes, 64 << 20},
	} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	if l.DrainTimeout <= 0 {
		l.DrainTimeout = 5 * time.Second
	}
	return l
}

// LimitError says that a request is beyond a limit. The request has not happened.
type LimitError struct {
	// What is the thing measured, and Setting the configuration item that limits it.
	What, Setting string
	Actual, Limit int
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("max %s exceeded, size: %d, limit: %d (%s)", e.What, e.Actual, e.Limit, e.Setting)
}

// InvalidError says that a request cannot be served as it is. The request has not happened.
type InvalidError struct{ Reason string }

func (e *InvalidError) Error() string { return e.Reason }

// The configuration items that LimitErrors name.
const (
	settingKeySize      = "storage.max-key-size"
	settingEntrySize    = "raftstore.raft-entry-max-size"
	settingScanRows     = "server.max-scan-rows"
	settingResponseSize = "server.max-response-size"
)

// checkKey refuses keys that may not be written.
func (l *Limits) checkKey(key []byte) error {
	if len(key) == 0 {
		return &InvalidError{Reason: "an empty key cannot be written"}
	}
	if len(key) > l.MaxKeySize {
		return &LimitError{What: "key size", Setting: settingKeySize, Actual: len(key), Limit: l.MaxKeySize}
	}
	return nil
}

// checkEntry refuses a write whose keys and values have size bytes.
func (l *Limits) checkEntry(size int) error {
	if size > l.MaxEntrySize {
		return &LimitError{What: "entry size", Setting: settingEntrySize, Actual: size, Limit: l.MaxEntrySize}
	}
	return nil
}

// checkResponse refuses to gather more than a response may hold.
func (l *Limits) checkResponse(size int) error {
	if size > l.MaxResponseSize {
		return &LimitError{What: "response size", Setting: settingResponseSize, Actual: size, Limit: l.MaxResponseSize}
	}
	return nil
}

// parseCF is engine.ParseCF with a typed error.
func parseCF(name string) (engine.CF, error) {
	cf, ok := engine.ParseCF(name)
	if !ok {
		return 0, &InvalidError{Reason: fmt.Sprintf("unknown column family %q: there are default, lock and write", name)}
	}
	return cf, nil
}
