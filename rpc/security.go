package rpc

import (
	"crypto/tls"
	"crypto/x509"
	"os"

	"github.com/pingcap/errors"
)

// Security names the files of the transport security, in PEM form: the authority that both sides' certificates are checked against,
// and this process's certificate and key, which it shows as a server and as a client. The zero value is plain text; else all
// three are needed. The certificate and its key are read again for every connection, so they may be replaced while the process runs.
type Security struct{ CA, Cert, Key string }

// Enabled reports whether connections are encrypted.
func (s Security) Enabled() bool { return s != Security{} }

func (s Security) clientConfig() (*tls.Config, error) {
	authority, err := s.authority()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    authority,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return s.certificate()
		},
	}, nil
}

func (s Security) serverConfig() (*tls.Config, error) {
	authority, err := s.authority()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		ClientCAs:  authority,
		ClientAuth: tls.RequireAndVerifyClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return s.certificate()
		},
	}, nil
}

// authority reads the CA file, after it has made sure that the other files can be used as well.
func (s Security) authority() (*x509.CertPool, error) {
	if s.CA == "" || s.Cert == "" || s.Key == "" {
		return nil, errors.Errorf("security needs a CA, a certificate and a key file, got %q, %q and %q", s.CA, s.Cert, s.Key)
	}
	if _, err := s.certificate(); err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(s.CA)
	if err != nil {
		return nil, errors.Annotate(err, "read the CA file")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.Errorf("CA file %s holds no certificate", s.CA)
	}
	return pool, nil
}

func (s Security) certificate() (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(s.Cert, s.Key)
	return &cert, errors.Annotatef(err, "certificate %s with key %s", s.Cert, s.Key)
}
