package web

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// TLSConfig are the files of a certificate; both or neither.
type TLSConfig struct {
	Cert string `yaml:"cert" help:"PEM file of the certificate and what signs it; the UI is https then"`
	Key  string `yaml:"key" help:"PEM file of its private key"`
}

// Validate tells when one of the two is missing.
func (c TLSConfig) Validate() error {
	if (c.Cert == "") != (c.Key == "") {
		return errors.New("web.tls: cert and key go together; set both or neither")
	}
	return nil
}

func (c TLSConfig) listen(l net.Listener) (net.Listener, error) {
	pair := &keyPair{files: c}
	if _, err := pair.get(nil); err != nil {
		return nil, err
	}
	return tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: pair.get}), nil
}

// keyPair reads its files again when they have changed, so that a certificate is
// renewed without a restart.
type keyPair struct {
	files TLSConfig

	mu   sync.Mutex // guards the following
	pair *tls.Certificate
	read time.Time // when the files were changed that were read
}

func (k *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	changed, err := k.changed()
	if err == nil && k.pair != nil && changed.Equal(k.read) {
		return k.pair, nil
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(k.files.Cert, k.files.Key)
	}
	if err != nil {
		if k.pair != nil {
			return k.pair, nil // half written; the next handshake looks again
		}
		return nil, fmt.Errorf("cannot read the certificate of web.tls: %w", err)
	}
	k.pair, k.read = &pair, changed
	return k.pair, nil
}

func (k *keyPair) changed() (latest time.Time, err error) {
	for _, name := range []string{k.files.Cert, k.files.Key} {
		info, err := os.Stat(name)
		if err != nil {
			return time.Time{}, err
		}
		if info.ModTime().After(latest) {
			latest = info.ModTime()
		}
	}
	return latest, nil
}
