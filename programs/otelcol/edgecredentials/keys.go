package edgecredentials

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/zap"
)

var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256}

type key struct {
	public    any
	algorithm jose.SignatureAlgorithm
}

// keySet is the content of one state of the file, with what was verified by it: other keys forget all of that.
type keySet struct {
	byID map[string][]key
	// unnamed keys are tried with every token
	unnamed []key
	digest  [sha256.Size]byte

	verified *lru[*authData]
	// refused tokens are remembered too: one without a key id costs a try of each key
	refused *lru[error]
}

const (
	maxVerified  = 8192
	maxRefused   = 1024
	maxFileBytes = 16 << 20
)

func (s *keySet) size() (n int) {
	for _, keys := range s.byID {
		n += len(keys)
	}
	return n + len(s.unnamed)
}

// candidates are the keys that may have signed a token.
func (s *keySet) candidates(id string) []key {
	if id != "" {
		if len(s.unnamed) == 0 {
			return s.byID[id]
		}
		return append(append([]key{}, s.byID[id]...), s.unnamed...)
	}
	all := append([]key{}, s.unnamed...)
	for _, keys := range s.byID {
		all = append(all, keys...)
	}
	return all
}

// parseKeys leaves out keys that cannot be used, and says how many; a set without a key that can is an error.
func parseKeys(content []byte) (set *keySet, unusable int, err error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	if err := decoder.Decode(&raw); err != nil {
		return nil, 0, fmt.Errorf("no JWK Set: %w", err)
	}
	set = &keySet{
		byID: map[string][]key{}, digest: sha256.Sum256(content),
		verified: newLRU[*authData](maxVerified), refused: newLRU[error](maxRefused),
	}
	for _, one := range raw.Keys {
		var jwk jose.JSONWebKey
		if err := json.Unmarshal(one, &jwk); err != nil {
			unusable++
			continue
		}
		algorithm, err := algorithmOf(jwk)
		if err != nil {
			unusable++
			continue
		}
		k := key{jwk.Key, algorithm}
		if jwk.KeyID == "" {
			set.unnamed = append(set.unnamed, k)
		} else {
			set.byID[jwk.KeyID] = append(set.byID[jwk.KeyID], k)
		}
	}
	if set.size() == 0 {
		return nil, unusable, errors.New("no public key of a supported type (EC P-256, Ed25519, RSA)")
	}
	return set, unusable, nil
}

func algorithmOf(jwk jose.JSONWebKey) (jose.SignatureAlgorithm, error) {
	var found jose.SignatureAlgorithm
	switch public := jwk.Key.(type) {
	case *ecdsa.PublicKey:
		if public.Curve == elliptic.P256() {
			found = jose.ES256
		}
	case ed25519.PublicKey:
		found = jose.EdDSA
	case *rsa.PublicKey:
		if public.N.BitLen() >= 2048 {
			found = jose.RS256
		}
	}
	if found == "" || !jwk.Valid() || jwk.Use != "" && jwk.Use != "sig" || jwk.Algorithm != "" && jwk.Algorithm != string(found) {
		return "", errors.New("unsupported")
	}
	return found, nil
}

// keysFile is looked at when a request comes, at most once a second. os.Stat follows links, so that a Secret's volume,
// which swaps a link, is seen like a file that was written.
type keysFile struct {
	path   string
	logger *zap.Logger
	now    func() time.Time

	current atomic.Pointer[keySet]
	// nextLook in nanoseconds
	nextLook atomic.Int64

	mu   sync.Mutex
	seen identity
	// settled: the file was not written just before it was read. A second write in the same tick of the clock looks the same.
	settled  bool
	lastFail string
	lastSaid time.Time
}

// identity tells one state of a file from another.
type identity struct {
	device, inode uint64
	size          int64
	modified      time.Time
}

const (
	lookEvery  = time.Second
	settleTime = 2 * time.Second
	sayEvery   = time.Minute
)

func identify(info fs.FileInfo) identity {
	id := identity{size: info.Size(), modified: info.ModTime()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		id.device, id.inode = uint64(stat.Dev), stat.Ino
	}
	return id
}

// keys are those of the file, or of the last state of it that could be used.
func (f *keysFile) keys() *keySet {
	now := f.now().UnixNano()
	next := f.nextLook.Load()
	// a clock that was set back must not keep it from looking
	if now >= next || next-now > int64(lookEvery) {
		if f.nextLook.CompareAndSwap(next, now+int64(lookEvery)) {
			f.look()
		}
	}
	return f.current.Load()
}

func (f *keysFile) look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.reload(); err != nil {
		f.complain(err)
		return
	}
	if f.lastFail != "" {
		f.logger.Info("The file of the edges' keys can be used again", zap.String("file", f.path))
		f.lastFail = ""
	}
}

func (f *keysFile) reload() error {
	info, err := os.Stat(f.path)
	if err != nil {
		return err
	}
	id := identify(info)
	if id == f.seen && f.settled && f.lastFail == "" {
		return nil
	}
	if info.Size() > maxFileBytes {
		return fmt.Errorf("%s is larger than %d bytes", f.path, maxFileBytes)
	}
	content, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	age := f.now().Sub(id.modified)
	f.seen, f.settled = id, age > settleTime
	before := f.current.Load()
	if before != nil && before.digest == sha256.Sum256(content) {
		return nil
	}
	set, unusable, err := parseKeys(content)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	f.current.Store(set)
	log := f.logger.Info
	if unusable > 0 {
		log = f.logger.Warn
	}
	log("Edges' keys read", zap.String("file", f.path), zap.Int("keys", set.size()), zap.Int("unusable_keys", unusable))
	return nil
}

// complain once about each fault, and again every minute.
func (f *keysFile) complain(err error) {
	now := f.now()
	if f.lastFail == err.Error() && now.Sub(f.lastSaid) < sayEvery {
		return
	}
	f.lastFail, f.lastSaid = err.Error(), now
	f.logger.Error("The file of the edges' keys cannot be used; the keys of before go on being accepted", zap.String("file", f.path), zap.Error(err))
}
