package config

import (
	"maps"
	"net"
	"slices"
	"strings"
	"time"
)

// Server is what the store shows to clients: addresses, limits of requests, how it stops.
type Server struct {
	// Addr is where the store listens for clients and other stores (-A).
	Addr string `toml:"addr"`
	// AdvertiseAddr is the address told to them; empty: the one listened on.
	AdvertiseAddr string `toml:"advertise-addr"`
	// StatusAddr is where the status server listens, which speaks HTTP: /status, /config, /metrics, /region/{id}.
	StatusAddr string `toml:"status-addr"`
	// AdvertiseStatusAddr is the address of the status server told to others; empty: the one listened on.
	AdvertiseStatusAddr string `toml:"advertise-status-addr"`
	// EnablePprof opens /debug/pprof/ on the status server.
	EnablePprof bool `toml:"enable-pprof"`
	// Labels are where the store stands, such as { zone = "z1", host = "h1" } (--labels zone=z1,host=h1); the scheduler keeps
	// replicas apart by them.
	Labels map[string]string `toml:"labels"`
	// GracefulShutdownTimeout is how long a stopping store waits for requests in work.
	GracefulShutdownTimeout Duration `toml:"graceful-shutdown-timeout"`

	// MaxScanRows is how many rows one scan may ask for.
	MaxScanRows int `toml:"max-scan-rows"`
	// MaxResponseSize bounds the keys and values in one answer.
	MaxResponseSize Size `toml:"max-response-size"`
	// MaxStreamRequests is how many requests one client's stream may have in work before it is not read any further.
	MaxStreamRequests int `toml:"max-stream-requests"`
	// MaxStreamSize is the same as MaxStreamRequests in bytes.
	MaxStreamSize Size `toml:"max-stream-size"`
	// ConcurrentSendSnaps is how many snapshots are read and sent at one time.
	ConcurrentSendSnaps int `toml:"concurrent-send-snap-limit"`
	// SnapIOMaxBytesPerSec is how much of snapshots, packed, is sent in a second at most, and how much received; 0 is no limit.
	SnapIOMaxBytesPerSec Size `toml:"snap-io-max-bytes-per-sec"`
	// ConcurrentRecvSnaps is how many snapshots are received at one time.
	ConcurrentRecvSnaps int `toml:"concurrent-recv-snap-limit"`
}

func defaultServer() Server {
	return Server{
		Addr:                    "127.0.0.1:20160",
		StatusAddr:              "127.0.0.1:20180",
		Labels:                  map[string]string{},
		GracefulShutdownTimeout: Duration{20 * time.Second},
		MaxScanRows:             10240,
		MaxResponseSize:         256 * MiB,
		MaxStreamRequests:       4096,
		MaxStreamSize:           64 * MiB,
		ConcurrentSendSnaps:     4,
		SnapIOMaxBytesPerSec:    100 * MiB,
		ConcurrentRecvSnaps:     8,
	}
}

// complete advertises what is listened on, unless the port is still to be found.
func (s *Server) complete() {
	follow := func(advertised *string, addr string) {
		if _, port, err := net.SplitHostPort(addr); err == nil && port != "0" && *advertised == "" {
			*advertised = addr
		}
	}
	follow(&s.AdvertiseAddr, s.Addr)
	follow(&s.AdvertiseStatusAddr, s.StatusAddr)
}

func (s *Server) validate(p *Problems) {
	p.Address("server.addr", s.Addr, true)
	if s.AdvertiseAddr != "" {
		p.Address("server.advertise-addr", s.AdvertiseAddr, false)
	}
	p.Address("server.status-addr", s.StatusAddr, true)
	if s.AdvertiseStatusAddr != "" {
		p.Address("server.advertise-status-addr", s.AdvertiseStatusAddr, false)
	}
	if s.StatusAddr == s.Addr && !strings.HasSuffix(s.Addr, ":0") {
		p.Addf("server.status-addr is %q, which server.addr is too; they need a port each", s.StatusAddr)
	}
	for _, key := range s.LabelKeys() {
		value := s.Labels[key]
		if !labelKey(key) || !labelKey(value) {
			p.Addf("server.labels has %s=%q; both must be letters, digits, '-', '_', '.' or '/', at most %d", key, value, maxLabel)
		}
	}
	durationBetween(p, "server.graceful-shutdown-timeout", s.GracefulShutdownTimeout, Duration{}, Duration{time.Hour})
	between(p, "server.max-scan-rows", s.MaxScanRows, 1, 1<<20)
	between(p, "server.max-response-size", s.MaxResponseSize, MiB, GiB)
	between(p, "server.max-stream-requests", s.MaxStreamRequests, 1, 1<<20)
	between(p, "server.max-stream-size", s.MaxStreamSize, MiB, 16*GiB)
	between(p, "server.concurrent-send-snap-limit", s.ConcurrentSendSnaps, 1, 1024)
	if s.SnapIOMaxBytesPerSec != 0 {
		between(p, "server.snap-io-max-bytes-per-sec", s.SnapIOMaxBytesPerSec, MiB, 1024*GiB)
	}
	between(p, "server.concurrent-recv-snap-limit", s.ConcurrentRecvSnaps, 1, 1024)
}

// LabelKeys are the keys of Labels in order.
func (s *Server) LabelKeys() []string { return slices.Sorted(maps.Keys(s.Labels)) }

const maxLabel = 128

func labelKey(s string) bool {
	if s == "" || len(s) > maxLabel {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_./", r)
	}) < 0
}

// PD is where the scheduler is.
type PD struct {
	// Endpoints are the addresses of schedulers, with or without http:// (--pd a:2379,b:2379); any of them leads to the leader.
	Endpoints []string `toml:"endpoints"`
}

func (d *PD) validate(p *Problems) {
	if len(d.Endpoints) == 0 {
		p.Addf("pd.endpoints is empty; it must name at least one scheduler")
	}
	for _, e := range d.Endpoints {
		_, addr, found := strings.Cut(e, "://")
		if !found {
			addr = e
		}
		p.Address("pd.endpoints", strings.TrimSuffix(addr, "/"), false)
	}
}

// Security is the PEM files of the transport's security: all three, or none for plain text.
type Security struct {
	// CAPath is the certificates of the authorities that others must be signed by.
	CAPath string `toml:"ca-path"`
	// CertPath is the store's own certificate.
	CertPath string `toml:"cert-path"`
	// KeyPath is the key of that certificate.
	KeyPath string `toml:"key-path"`
}

func (s *Security) validate(p *Problems) {
	paths := []string{s.CAPath, s.CertPath, s.KeyPath}
	if slices.Contains(paths, "") && paths[0]+paths[1]+paths[2] != "" {
		p.Addf("security has ca-path %q, cert-path %q and key-path %q; either all three are set or none", s.CAPath, s.CertPath, s.KeyPath)
	}
}
