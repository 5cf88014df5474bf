package sim

import "time"

// Shrinking looks for a shorter story with the same end: it leaves out steps, and plays what is left.
type Shrinking struct {
	// Fails says that a run still shows what is looked for.
	Fails func(Result) bool
	// Budget is how many runs may be played.
	Budget int
	// Progress, when not nil, is told after each run how many steps the shortest story has.
	Progress func(runs, steps int)

	runs int
}

// Shrink returns the shortest story that was found: one that fails, if cfg and steps do. It is deterministic.
func (s *Shrinking) Shrink(cfg Config, steps []Step) (Config, []Step) {
	s.runs = 0
	first := Play(cfg, steps, nil)
	if s.runs++; !s.Fails(first) {
		return cfg, steps
	}
	cfg, steps = s.dropTail(cfg, steps)
	steps = s.dropSteps(cfg, steps)
	cfg = s.dropTime(cfg, steps)
	return cfg, s.dropSteps(cfg, steps)
}

// fails plays a candidate, if the budget allows it.
func (s *Shrinking) fails(cfg Config, steps []Step, shortest int) bool {
	if s.runs >= s.Budget {
		return false
	}
	s.runs++
	yes := s.Fails(Play(cfg, steps, nil))
	if yes {
		shortest = len(steps)
	}
	if s.Progress != nil {
		s.Progress(s.runs, shortest)
	}
	return yes
}

// dropTail looks for the earliest end that still fails, by halves.
func (s *Shrinking) dropTail(cfg Config, steps []Step) (Config, []Step) {
	for cut := cfg.Duration / 2; cut >= time.Second; cut /= 2 {
		shorter := cfg
		shorter.Duration = cfg.Duration - cut
		if kept := before(steps, shorter.Duration); s.fails(shorter, kept, len(steps)) {
			cfg, steps = shorter, kept
		}
	}
	return cfg, steps
}

func before(steps []Step, end time.Duration) []Step {
	for i := range steps {
		if steps[i].At >= end {
			return steps[:i]
		}
	}
	return steps
}

// dropSteps is delta debugging: it leaves out chunks, halves first, single steps last, as long as any can be left out.
func (s *Shrinking) dropSteps(cfg Config, steps []Step) []Step {
	for size := (len(steps) + 1) / 2; size > 0; {
		dropped := false
		for at := 0; at < len(steps); {
			end := min(at+size, len(steps))
			rest := append(append(make([]Step, 0, len(steps)), steps[:at]...), steps[end:]...)
			if s.fails(cfg, rest, len(steps)) {
				steps, dropped = rest, true
			} else {
				at = end
			}
		}
		if !dropped || size > 1 {
			size /= 2
		}
		size = min(size, len(steps))
	}
	return steps
}

// dropTime ends the run soon after the last step begins, or at least soon after all are over.
func (s *Shrinking) dropTime(cfg Config, steps []Step) Config {
	var begin, end time.Duration
	for _, st := range steps {
		begin, end = max(begin, st.At), max(end, st.At+st.For)
	}
	for _, at := range []time.Duration{begin + 100*time.Millisecond, end + 100*time.Millisecond, end + 2*time.Second, end + 10*time.Second} {
		shorter := cfg
		shorter.Duration = at
		if at < cfg.Duration && s.fails(shorter, steps, len(steps)) {
			return shorter
		}
	}
	return cfg
}
