package config

import (
	"cmp"
	"net"
	"strconv"
	"strings"

	"github.com/pingcap/errors"
)

// Problems collects what is wrong with a configuration, so that an operator reads all of it at once.
type Problems struct{ found []string }

// Add notes an error; nil is no problem.
func (p *Problems) Add(err error) {
	if err != nil {
		p.found = append(p.found, err.Error())
	}
}

// Addf notes a problem.
func (p *Problems) Addf(format string, args ...any) { p.Add(errors.Errorf(format, args...)) }

// Err is nil when nothing was noted.
func (p *Problems) Err() error {
	if len(p.found) == 0 {
		return nil
	}
	return errors.New("invalid configuration: " + strings.Join(p.found, "; "))
}

// between notes a value outside [least, most].
func between[T cmp.Ordered](p *Problems, key string, value, least, most T) {
	if value < least || value > most {
		p.Addf("%s is %v; it must be between %v and %v", key, value, least, most)
	}
}

func durationBetween(p *Problems, key string, value Duration, least, most Duration) {
	if value.Duration < least.Duration || value.Duration > most.Duration {
		p.Addf("%s is %v; it must be between %v and %v", key, value, least, most)
	}
}

// Address notes what is not host:port. Port 0, a free one, is fine where one listens and senseless where one is reached.
func (p *Problems) Address(key, value string, listen bool) {
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		p.Addf("%s is %q; it must be host:port", key, value)
		return
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		p.Addf("%s is %q; the port must be a number up to 65535", key, value)
		return
	}
	if listen {
		return
	}
	if n == 0 {
		p.Addf("%s is %q; it must name the port that others connect to", key, value)
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		p.Addf("%s is %q; others cannot connect to that host: name one that they can reach", key, value)
	}
}
