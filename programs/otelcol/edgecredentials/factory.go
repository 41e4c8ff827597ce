// Package edgecredentials is a collector extension that admits edges by their credential: a JWT signed by a key whose
// public half stands in a watched JWK Set. It does what the extension oidc does with public_keys_file, and finds the key
// by its id and remembers what it has verified, so that a request costs the same however many edges there are.
package edgecredentials

import (
	"context"
	"errors"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
)

// Type of the extension in the collector's configuration.
var Type = component.MustNewType("edge_credentials")

// Config of the extension.
type Config struct {
	// Issuer and Audience must be those of the token.
	Issuer   string `mapstructure:"issuer"`
	Audience string `mapstructure:"audience"`
	// KeysFile is a JWK Set of the public keys. It is watched.
	KeysFile string `mapstructure:"keys_file"`
}

// Validate is called by the collector.
func (c *Config) Validate() error {
	var errs []error
	if c.Issuer == "" {
		errs = append(errs, errors.New("issuer must be set"))
	}
	if c.Audience == "" {
		errs = append(errs, errors.New("audience must be set"))
	}
	if c.KeysFile == "" {
		errs = append(errs, errors.New("keys_file must be set"))
	}
	return errors.Join(errs...)
}

// NewFactory makes the extension's factory.
func NewFactory() extension.Factory {
	return extension.NewFactory(
		Type,
		func() component.Config { return &Config{} },
		func(_ context.Context, set extension.Settings, config component.Config) (extension.Extension, error) {
			return newAuthenticator(config.(*Config), set.Logger), nil
		},
		component.StabilityLevelBeta,
	)
}
