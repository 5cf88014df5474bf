package playground

import (
	"os"
	"slices"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/local"
)

// members are how parts are started and stopped, as processes or in this one.
type members interface {
	// start starts a store.
	start(s *spec) error
	// stop stops a store, and returns when it has ended.
	stop(s *spec) error
	// written writes down which parts there are now.
	written() error
	// pid is the part's process; running is whether it lives.
	pid(s *spec) int
	running(s *spec) bool
}

// describe tells of all parts.
func (p *playground) describe() parts {
	all := parts{PD: addresses(p.specs), Dir: p.dir}
	for _, s := range p.specs {
		all.Parts = append(all.Parts, part{s.name, s.addr, s.status, p.members.pid(s), s.store, p.members.running(s)})
	}
	return all
}

// grow starts n stores more, each at the first place that is free.
func (p *playground) grow(n int) (parts, error) {
	added := parts{PD: addresses(p.specs), Dir: p.dir}
	if have := len(p.specs) - p.Schedulers; have+n > maxStores {
		return added, errors.Errorf("there are %d stores, and a playground has at most %d", have, maxStores)
	}
	for range n {
		s, err := p.place()
		if err != nil {
			return added, err
		}
		if err := p.members.start(s); err != nil {
			return added, err
		}
		p.specs = append(p.specs, s)
		p.printf("%s was added at %s\n", s.name, s.addr)
		added.Parts = append(added.Parts, part{s.name, s.addr, s.status, p.members.pid(s), true, true})
	}
	return added, p.members.written()
}

// place plans a store at the first place that is free.
func (p *playground) place() (*spec, error) {
	for i := range maxStores {
		if slices.ContainsFunc(p.specs, func(s *spec) bool { return s.name == local.StoreName(i) }) {
			continue
		}
		s := p.planStore(p.dir, addresses(p.specs), i)
		return s, requireFree([]*spec{s})
	}
	return nil, errors.New("no place is free")
}

// shrink stops a store that was drained, and removes its data: a tombstone can never come back.
func (p *playground) shrink(name string) error {
	at := slices.IndexFunc(p.specs, func(s *spec) bool { return s.store && s.name == name })
	if at < 0 {
		return errors.Errorf("there is no store %s here", name)
	}
	s := p.specs[at]
	if err := p.members.stop(s); err != nil {
		return err
	}
	p.specs = slices.Delete(p.specs, at, at+1)
	p.printf("%s was removed, and its data\n", s.name)
	if err := p.members.written(); err != nil {
		return err
	}
	return errors.WithStack(os.RemoveAll(s.dir))
}
