package rpc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestHostPort(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:20160":       "127.0.0.1:20160",
		"http://store-1:20160":  "store-1:20160",
		"https://[::1]:20160":   "[::1]:20160",
		"http://127.0.0.1:1/":   "127.0.0.1:1",
		"localhost:0":           "localhost:0",
		"":                      "",
		"127.0.0.1":             "",
		"http://127.0.0.1":      "",
		"ftp://127.0.0.1:1":     "",
		"http://127.0.0.1:1/kv": "",
		"http://a b:1":          "",
		"127.0.0.1:1:2":         "",
	} {
		got, err := hostPort(addr)
		require.Equal(t, want == "", err != nil, "%q: %v", addr, err)
		require.Equal(t, want, got, addr)
	}
}

// echo answers every RawPut with an error text that says what it got.
type echo struct{ tikvpb.UnimplementedTikvServer }

func (*echo) RawPut(_ context.Context, req *kvrpcpb.RawPutRequest) (*kvrpcpb.RawPutResponse, error) {
	return &kvrpcpb.RawPutResponse{Error: string(req.Key) + "=" + string(req.Value)}, nil
}

func serve(t *testing.T, sec Security, addr string) string {
	listener, err := Listen(addr)
	require.NoError(t, err)
	opts, err := ServerOptions(sec)
	require.NoError(t, err)
	server := grpc.NewServer(opts...)
	tikvpb.RegisterTikvServer(server, new(echo))
	healthpb.RegisterHealthServer(server, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-served)
	})
	return listener.Addr().String()
}

func dial(t *testing.T, addr string, sec Security) *grpc.ClientConn {
	conn, err := Dial(addr, sec)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

func put(t *testing.T, conn *grpc.ClientConn, value string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	answer, err := tikvpb.NewTikvClient(conn).RawPut(ctx, &kvrpcpb.RawPutRequest{Key: []byte("k"), Value: []byte(value)})
	return answer.GetError(), err
}

func TestPlainText(t *testing.T) {
	conn := dial(t, "http://"+serve(t, Security{}, "127.0.0.1:0"), Security{})
	answer, err := put(t, conn, "v")
	require.NoError(t, err)
	require.Equal(t, "k=v", answer)
	// Messages that are not kvproto's travel on the same connection.
	check, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, check.Status)
}

func TestMessagesUpToTheLimit(t *testing.T) {
	conn := dial(t, serve(t, Security{}, "127.0.0.1:0"), Security{})
	large := string(make([]byte, 32<<20)) // far beyond grpc's own limit
	answer, err := put(t, conn, large)
	require.NoError(t, err)
	require.Equal(t, "k="+large, answer)
	_, err = put(t, conn, string(make([]byte, MaxMessage)))
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
}

// A connection finds its server again, also when calls failed in between.
func TestReconnect(t *testing.T) {
	listener, err := Listen("127.0.0.1:0")
	require.NoError(t, err)
	addr := listener.Addr().String()
	require.NoError(t, listener.Close())
	conn := dial(t, addr, Security{})
	_, err = put(t, conn, "v")
	require.Equal(t, codes.Unavailable, status.Code(err))
	serve(t, Security{}, addr)
	require.Eventually(t, func() bool {
		_, err := put(t, conn, "v")
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)
}

func TestTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	sec := ours.issue(t, "server")
	addr := serve(t, sec, "127.0.0.1:0")

	answer, err := put(t, dial(t, "https://"+addr, ours.issue(t, "client")), "v")
	require.NoError(t, err)
	require.Equal(t, "k=v", answer)

	for name, stranger := range map[string]Security{
		"plain text":               {},
		"another authority":        theirs.issue(t, "client"),
		"another's certificate":    {CA: ours.file, Cert: theirs.issue(t, "c").Cert, Key: filepath.Join(theirs.dir, "c.key")},
		"another's CA to check us": {CA: theirs.file, Cert: sec.Cert, Key: sec.Key},
	} {
		_, err = put(t, dial(t, addr, stranger), "v")
		require.Equal(t, codes.Unavailable, status.Code(err), "%s: %v", name, err)
	}
}

// A certificate that was replaced counts from the next connection on.
func TestCertificateIsReadAgain(t *testing.T) {
	ca := newAuthority(t)
	sec := ca.issue(t, "server")
	addr := serve(t, sec, "127.0.0.1:0")
	valid, err := os.ReadFile(sec.Cert)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(sec.Cert, []byte("damaged"), 0o600))
	client := ca.issue(t, "client")
	_, err = put(t, dial(t, addr, client), "v")
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.NoError(t, os.WriteFile(sec.Cert, valid, 0o600))
	_, err = put(t, dial(t, addr, client), "v")
	require.NoError(t, err)
}

func TestSecurityFilesAreChecked(t *testing.T) {
	ca := newAuthority(t)
	good := ca.issue(t, "a")
	empty := filepath.Join(ca.dir, "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for want, sec := range map[string]Security{
		"security needs a CA":  {CA: good.CA},
		"certificate":          {CA: good.CA, Cert: good.Cert, Key: empty},
		"holds no certificate": {CA: empty, Cert: good.Cert, Key: good.Key},
		"read the CA file":     {CA: good.CA + ".none", Cert: good.Cert, Key: good.Key},
	} {
		_, err := Dial("127.0.0.1:1", sec)
		require.ErrorContains(t, err, want)
		_, err = ServerOptions(sec)
		require.ErrorContains(t, err, want)
	}
}

// authority issues certificates for 127.0.0.1.
type authority struct {
	dir, file string
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{dir: t.TempDir()}
	a.file = filepath.Join(a.dir, "ca.pem")
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := certificate("authority")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	require.NoError(t, err)
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

func (a *authority) issue(t *testing.T, name string) Security {
	sec := Security{CA: a.file, Cert: filepath.Join(a.dir, name+".pem"), Key: filepath.Join(a.dir, name+".key")}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := certificate(name)
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	require.NoError(t, err)
	writePEM(t, sec.Cert, "CERTIFICATE", der)
	der, err = x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	writePEM(t, sec.Key, "EC PRIVATE KEY", der)
	return sec
}

func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}
