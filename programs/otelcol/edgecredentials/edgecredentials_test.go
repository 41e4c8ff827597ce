package edgecredentials

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.uber.org/zap"
)

const (
	issuer   = "lkeobs:hub"
	audience = "lkeobs:hub:gateway"
)

type signer struct {
	algorithm jose.SignatureAlgorithm
	private   crypto.Signer
	id        string
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func ec(id string) signer {
	return signer{jose.ES256, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), id}
}

func (s signer) jwk() jose.JSONWebKey {
	return jose.JSONWebKey{Key: s.private.Public(), KeyID: s.id, Algorithm: string(s.algorithm), Use: "sig"}
}

func claimsOf(subject string) jwt.Claims {
	return jwt.Claims{Issuer: issuer, Audience: jwt.Audience{audience}, Subject: subject, Expiry: jwt.NewNumericDate(time.Now().Add(time.Hour))}
}

func (s signer) token(claims jwt.Claims) string {
	var key any = s.private
	if s.id != "" {
		key = jose.JSONWebKey{Key: s.private, KeyID: s.id}
	}
	made := must(jose.NewSigner(jose.SigningKey{Algorithm: s.algorithm, Key: key}, nil))
	return must(jwt.Signed(made).Claims(claims).Serialize())
}

func jwks(signers ...signer) []byte {
	var set jose.JSONWebKeySet
	for _, s := range signers {
		set.Keys = append(set.Keys, s.jwk())
	}
	return must(json.Marshal(set))
}

type fixture struct {
	*authenticator
	t    testing.TB
	path string
	at   time.Time
}

func start(t testing.TB, signers ...signer) *fixture {
	t.Helper()
	path := filepath.Join(t.TempDir(), "edges.jwks")
	if err := os.WriteFile(path, jwks(signers...), 0o600); err != nil {
		t.Fatal(err)
	}
	return startAt(t, path)
}

func startAt(t testing.TB, path string) *fixture {
	t.Helper()
	made, err := NewFactory().Create(context.Background(), extension.Settings{ID: component.NewID(Type), TelemetrySettings: component.TelemetrySettings{Logger: zap.NewNop()}},
		&Config{Issuer: issuer, Audience: audience, KeysFile: path})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{authenticator: made.(*authenticator), t: t, path: path, at: time.Now()}
	f.now = func() time.Time { return f.at }
	f.keys.now = f.now
	if err := f.Start(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) subject(token string) (any, error) {
	ctx, err := f.Authenticate(context.Background(), map[string][]string{"authorization": {"Bearer " + token}})
	if err != nil {
		return nil, err
	}
	return client.FromContext(ctx).Auth.GetAttribute("subject"), nil
}

func (f *fixture) admitted(token, subject string) {
	f.t.Helper()
	if got, err := f.subject(token); err != nil || got != subject {
		f.t.Fatalf("%v, %v", got, err)
	}
}

func (f *fixture) refused(token, text string) {
	f.t.Helper()
	if got, err := f.subject(token); err == nil || !strings.Contains(err.Error(), text) {
		f.t.Fatalf("%v, %v; not %q", got, err, text)
	}
}

func TestATokenOfAKnownKeyIsAdmitted(t *testing.T) {
	rsaKey := signer{jose.RS256, must(rsa.GenerateKey(rand.Reader, 2048)), "rsa"}
	_, private, _ := ed25519.GenerateKey(rand.Reader)
	signers := []signer{ec("a"), ec("b"), ec(""), rsaKey, {jose.EdDSA, private, "ed"}}
	f := start(t, signers...)
	for i, s := range signers {
		name := fmt.Sprintf("edge-%d", i)
		token := s.token(claimsOf(name))
		f.admitted(token, name)
		// remembered
		f.admitted(token, name)
	}
	ctx, err := f.Authenticate(context.Background(), map[string][]string{"Authorization": {"bearer " + signers[0].token(claimsOf("x"))}})
	if err != nil {
		t.Fatal(err)
	}
	auth := client.FromContext(ctx).Auth
	if auth.GetAttribute("iss") != issuer || auth.GetAttribute("aud") != audience || auth.GetAttribute("raw") != nil || len(auth.GetAttributeNames()) != 3 {
		t.Fatalf("%+v", auth)
	}
}

func TestATokenWithoutKeyIDIsTriedWithAll(t *testing.T) {
	named := ec("a")
	f := start(t, ec("b"), named, ec("c"))
	named.id = ""
	f.admitted(named.token(claimsOf("edge-1")), "edge-1")
}

func TestWhatIsRefused(t *testing.T) {
	s, other := ec("a"), ec("a")
	f := start(t, s)
	known := regexp.MustCompile(`no public keys able to verify|token is expired|authentication didn't succeed`)
	change := func(edit func(*jwt.Claims)) string {
		c := claimsOf("edge-1")
		edit(&c)
		return s.token(c)
	}
	unknownID := other
	unknownID.id = "z"
	noID := other
	noID.id = ""
	good := s.token(claimsOf("edge-1"))
	for name, c := range map[string]struct {
		token, text string
		known       bool
	}{
		"another key of the same id": {other.token(claimsOf("edge-1")), "no public keys able to verify", true},
		"an unknown id":              {unknownID.token(claimsOf("edge-1")), "no public keys able to verify", true},
		"no id and an unknown key":   {noID.token(claimsOf("edge-1")), "no public keys able to verify", true},
		"expired":                    {change(func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(time.Now().Add(-time.Second)) }), "token is expired", true},
		"without an end":             {change(func(c *jwt.Claims) { c.Expiry = nil }), "token is expired", true},
		"not yet":                    {change(func(c *jwt.Claims) { c.NotBefore = jwt.NewNumericDate(time.Now().Add(time.Hour)) }), "not before", false},
		"another issuer":             {change(func(c *jwt.Claims) { c.Issuer = "x" }), "different provider", false},
		"another audience":           {change(func(c *jwt.Claims) { c.Audience = jwt.Audience{"x"} }), "expected audience", false},
		"no audience":                {change(func(c *jwt.Claims) { c.Audience = nil }), "expected audience", false},
		"no subject":                 {change(func(c *jwt.Claims) { c.Subject = "" }), "no subject", false},
		"changed":                    {good[:len(good)-4] + "AAAA", "no public keys able to verify", true},
		"no token":                   {"x", "malformed", false},
		"unsigned":                   {"eyJhbGciOiJub25lIn0." + strings.Split(good, ".")[1] + ".", "failed to parse", false},
		"too long":                   {strings.Repeat("x", maxTokenBytes+1), "authentication didn't succeed", true},
		"empty":                      {"", "authentication didn't succeed", true},
		"two words":                  {"a b", "authentication didn't succeed", true},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				_, err := f.subject(c.token)
				if err == nil || !strings.Contains(err.Error(), c.text) || known.MatchString(err.Error()) != c.known {
					t.Fatalf("%v", err)
				}
			}
		})
	}
	for _, headers := range []map[string][]string{nil, {"authorization": {}}, {"authorization": {"Basic " + good}}, {"authorization": {good}}, {"x": {"Bearer " + good}}} {
		if _, err := f.Authenticate(context.Background(), headers); err == nil || !strings.Contains(err.Error(), "authentication didn't succeed") {
			t.Fatalf("%v: %v", headers, err)
		}
	}
	// an HMAC with the public key as its secret
	hs := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: jwks(s)}, nil))
	f.refused(must(jwt.Signed(hs).Claims(claimsOf("edge-1")).Serialize()), "failed to parse")
}

func TestARememberedTokenEnds(t *testing.T) {
	s := ec("a")
	f := start(t, s)
	token := s.token(claimsOf("edge-1"))
	f.admitted(token, "edge-1")
	f.at = f.at.Add(2 * time.Hour)
	f.refused(token, "token is expired")
	f.refused(token, "token is expired")
}

func TestAKeyThatIsTakenAwayIsRefusedWithinASecond(t *testing.T) {
	a, b := ec("a"), ec("b")
	f := start(t, a, b)
	token, other := a.token(claimsOf("edge-1")), b.token(claimsOf("edge-2"))
	f.admitted(token, "edge-1")
	f.admitted(other, "edge-2")
	if err := os.WriteFile(f.path, jwks(b), 0o600); err != nil {
		t.Fatal(err)
	}
	f.at = f.at.Add(lookEvery)
	f.refused(token, "no public keys able to verify")
	f.admitted(other, "edge-2")
	// and given back
	if err := os.WriteFile(f.path, jwks(a, b), 0o600); err != nil {
		t.Fatal(err)
	}
	f.at = f.at.Add(lookEvery)
	f.admitted(token, "edge-1")
}

func TestAChangeInTheSameTickIsSeen(t *testing.T) {
	a, b := ec("a"), ec("b")
	f := start(t, a)
	info := must(os.Stat(f.path))
	token := a.token(claimsOf("edge-1"))
	f.admitted(token, "edge-1")
	// the same size, the same inode, the same time
	if err := os.WriteFile(f.path, jwks(b), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(f.path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	f.at = f.at.Add(lookEvery)
	f.refused(token, "no public keys able to verify")
}

func TestASecretsVolumeSwapsALink(t *testing.T) {
	a, b := ec("a"), ec("b")
	dir := t.TempDir()
	old := time.Now().Add(-time.Hour)
	for name, s := range map[string]signer{"..1": a, "..2": b} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name, "edges.jwks")
		if err := os.WriteFile(path, jwks(s), 0o600); err != nil {
			t.Fatal(err)
		}
		_ = os.Chtimes(path, old, old)
	}
	for from, to := range map[string]string{"..data": "..1", "edges.jwks": "..data/edges.jwks"} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	f := startAt(t, filepath.Join(dir, "edges.jwks"))
	token := a.token(claimsOf("edge-1"))
	f.admitted(token, "edge-1")
	if err := os.Symlink("..2", filepath.Join(dir, "..tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	f.at = f.at.Add(lookEvery)
	f.refused(token, "no public keys able to verify")
	f.admitted(b.token(claimsOf("edge-2")), "edge-2")
}

func TestAFileThatCannotBeUsedKeepsTheKeysOfBefore(t *testing.T) {
	a := ec("a")
	f := start(t, a)
	token := a.token(claimsOf("edge-1"))
	for i, content := range []string{"", "{", `{"keys":[]}`, `{"keys":[{"kty":"oct","k":"AAAA"}]}`, `[]`} {
		if err := os.WriteFile(f.path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		f.at = f.at.Add(lookEvery)
		f.admitted(a.token(claimsOf(fmt.Sprint(i))), fmt.Sprint(i))
		f.admitted(token, "edge-1")
	}
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	f.at = f.at.Add(lookEvery)
	f.admitted(token, "edge-1")
	b := ec("b")
	// a key that cannot be used beside one that can
	content := `{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},` + strings.TrimPrefix(string(jwks(b)), `{"keys":[`)
	if err := os.WriteFile(f.path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	f.at = f.at.Add(lookEvery)
	f.refused(token, "no public keys able to verify")
	f.admitted(b.token(claimsOf("edge-2")), "edge-2")
}

func TestItDoesNotStartWithoutKeys(t *testing.T) {
	a := newAuthenticator(&Config{Issuer: issuer, Audience: audience, KeysFile: filepath.Join(t.TempDir(), "none")}, zap.NewNop())
	if err := a.Start(context.Background(), nil); err == nil {
		t.Fatal("started")
	}
	if err := (&Config{}).Validate(); err == nil || !strings.Contains(err.Error(), "keys_file") {
		t.Fatal(err)
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	l := newLRU[int](3)
	for i := range 5 {
		l.put(digest{byte(i)}, i)
		l.get(digest{0})
	}
	if _, found := l.get(digest{0}); !found || len(l.entries) != 3 || l.order.Len() != 3 {
		t.Fatalf("%v %d", l.entries, l.order.Len())
	}
}

func TestMany(t *testing.T) {
	a := ec("a")
	f := start(t, a)
	token := a.token(claimsOf("edge-1"))
	done := make(chan error)
	for range 8 {
		go func() {
			for range 200 {
				if _, err := f.subject(token); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

func benchmark(b *testing.B, remembered bool) {
	for _, n := range []int{1, 50, 1000} {
		b.Run(fmt.Sprintf("%d keys", n), func(b *testing.B) {
			signers := make([]signer, n)
			for i := range signers {
				signers[i] = ec(fmt.Sprint(i))
			}
			f := start(b, signers...)
			f.now = time.Now
			f.keys.now = time.Now
			headers := map[string][]string{"authorization": {"Bearer " + signers[n-1].token(claimsOf("edge-1"))}, ":authority": {"x"}, "user-agent": {"y"}}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if _, err := f.Authenticate(context.Background(), headers); err != nil {
					b.Fatal(err)
				}
				if !remembered {
					f.keys.current.Load().verified = newLRU[*authData](10)
				}
			}
		})
	}
}

func BenchmarkRemembered(b *testing.B) { benchmark(b, true) }
func BenchmarkFirst(b *testing.B)      { benchmark(b, false) }
