package edgecredentials

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/extensionauth"
	"go.uber.org/zap"
)

// The texts are those of the extension oidc: people and programs know them. configgrpc answers Unauthenticated with them.
var (
	errNotAuthenticated = errors.New("authentication didn't succeed")
	errHeaderFormat     = errors.New("authentication didn't succeed: invalid authorization header format, it must be Bearer and a token")
	errNoKey            = errors.New("failed to verify token: no public keys able to verify jwt")
)

const (
	maxTokenBytes = 16 << 10
	// notBeforeLeeway is that of oidc
	notBeforeLeeway = 5 * time.Minute
)

type authenticator struct {
	config *Config
	logger *zap.Logger
	keys   keysFile
	now    func() time.Time

	sayMu      sync.Mutex
	saidAt     time.Time
	suppressed int
}

var _ extensionauth.Server = (*authenticator)(nil)

func newAuthenticator(config *Config, logger *zap.Logger) *authenticator {
	return &authenticator{
		config: config, logger: logger, now: time.Now,
		keys: keysFile{path: config.KeysFile, logger: logger, now: time.Now},
	}
}

// Start reads the keys; without any nobody could be admitted.
func (a *authenticator) Start(context.Context, component.Host) error {
	a.keys.mu.Lock()
	defer a.keys.mu.Unlock()
	if err := a.keys.reload(); err != nil {
		return fmt.Errorf("cannot use the file of the edges' keys: %w", err)
	}
	return nil
}

func (a *authenticator) Shutdown(context.Context) error { return nil }

// Authenticate admits a request by its authorization header.
func (a *authenticator) Authenticate(ctx context.Context, headers map[string][]string) (context.Context, error) {
	token, err := bearer(headers)
	var data *authData
	if err == nil {
		data, err = a.verify(token)
	}
	if err != nil {
		a.say(ctx, err)
		return ctx, err
	}
	info := client.FromContext(ctx)
	info.Auth = data
	return client.NewContext(ctx, info), nil
}

func bearer(headers map[string][]string) (string, error) {
	// gRPC's are in lower case
	values := headers["authorization"]
	if len(values) == 0 {
		for name, others := range headers {
			if strings.EqualFold(name, "authorization") {
				values = others
				break
			}
		}
	}
	if len(values) == 0 {
		return "", errNotAuthenticated
	}
	scheme, token, found := strings.Cut(values[0], " ")
	if !found || !strings.EqualFold(scheme, "bearer") || token == "" || len(token) > maxTokenBytes || strings.Contains(token, " ") {
		return "", errHeaderFormat
	}
	return token, nil
}

func (a *authenticator) verify(token string) (*authData, error) {
	keys := a.keys.keys()
	if keys == nil {
		return nil, errNoKey
	}
	id := sha256.Sum256([]byte(token))
	now := a.now()
	if data, found := keys.verified.get(id); found {
		if err := data.current(now); err != nil {
			keys.verified.remove(id)
			return nil, err
		}
		return data, nil
	}
	if err, found := keys.refused.get(id); found {
		return nil, err
	}
	data, err := a.check(keys, token)
	if err != nil {
		keys.refused.put(id, err)
		return nil, err
	}
	// one that is not good yet may be later, and one that has ended is no secret: neither is remembered
	if err := data.current(now); err != nil {
		return nil, err
	}
	keys.verified.put(id, data)
	return data, nil
}

// check is what does not depend on the time.
func (a *authenticator) check(keys *keySet, token string) (*authData, error) {
	signed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return nil, fmt.Errorf("failed to parse the token: malformed jws: %w", err)
	}
	header := signed.Signatures[0].Header
	var payload []byte
	for _, key := range keys.candidates(header.KeyID) {
		if string(key.algorithm) != header.Algorithm {
			continue
		}
		if payload, err = signed.Verify(key.public); err == nil {
			break
		}
	}
	if payload == nil {
		return nil, errNoKey
	}
	var claims jwt.Claims
	if err := json.Unmarshal(payload, &claims); err != nil {
		return nil, fmt.Errorf("failed to verify token: its claims: %w", err)
	}
	switch {
	case claims.Issuer != a.config.Issuer:
		return nil, fmt.Errorf("failed to verify token: id token issued by a different provider, expected %q got %q", a.config.Issuer, claims.Issuer)
	case !slices.Contains(claims.Audience, a.config.Audience):
		return nil, fmt.Errorf("failed to verify token: expected audience %q got %q", a.config.Audience, claims.Audience)
	case claims.Subject == "":
		return nil, errors.New("failed to verify token: it has no subject")
	case claims.Expiry == nil:
		return nil, errors.New("failed to verify token: token is expired: it has no time at which it ends")
	}
	data := &authData{subject: claims.Subject, issuer: claims.Issuer, audience: a.config.Audience, expires: claims.Expiry.Time()}
	if claims.NotBefore != nil {
		data.notBefore = claims.NotBefore.Time()
	}
	return data, nil
}

// say why somebody was not admitted, at most once a second: an agent tries again at once.
func (a *authenticator) say(ctx context.Context, err error) {
	a.sayMu.Lock()
	now := a.now()
	if passed := now.Sub(a.saidAt); passed >= 0 && passed < time.Second {
		a.suppressed++
		a.sayMu.Unlock()
		return
	}
	suppressed := a.suppressed
	a.saidAt, a.suppressed = now, 0
	a.sayMu.Unlock()
	from := "unknown"
	if addr := client.FromContext(ctx).Addr; addr != nil {
		from = addr.String()
	}
	a.logger.Warn("Authentication failed", zap.String("client_ip", from), zap.Int("others_since", suppressed), zap.Error(err))
}

// authData is what processors can take with from_context: auth.subject, auth.iss, auth.aud.
type authData struct {
	subject, issuer, audience string
	expires, notBefore        time.Time
}

var _ client.AuthData = (*authData)(nil)

func (d *authData) current(now time.Time) error {
	if d.expires.Before(now) {
		return fmt.Errorf("failed to verify token: token is expired (Token Expiry: %v)", d.expires)
	}
	if now.Add(notBeforeLeeway).Before(d.notBefore) {
		return fmt.Errorf("failed to verify token: current time %v before the nbf (not before) time: %v", now, d.notBefore)
	}
	return nil
}

func (d *authData) GetAttribute(name string) any {
	switch name {
	case "subject":
		return d.subject
	case "iss":
		return d.issuer
	case "aud":
		return d.audience
	}
	return nil
}

func (*authData) GetAttributeNames() []string { return []string{"subject", "iss", "aud"} }
