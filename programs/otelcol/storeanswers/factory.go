// Package storeanswers is a collector extension, a middleware of HTTP clients, that keeps the text of an error answer.
// OTLP says that an error answer is a google.rpc.Status in protobuf, and otlphttpexporter reads nothing else. Prometheus
// answers in text/plain, and so does Loki outside its OTLP handler: the exporter then says a bare status code. The middleware
// makes a google.rpc.Status of such a text, so that dead letters and the status command can say why a store refused.
package storeanswers

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
)

// Type of the extension in the collector's configuration.
var Type = component.MustNewType("store_answers")

// Config of the extension: it has no settings.
type Config struct{}

// NewFactory makes the extension's factory.
func NewFactory() extension.Factory {
	return extension.NewFactory(
		Type,
		func() component.Config { return &Config{} },
		func(context.Context, extension.Settings, component.Config) (extension.Extension, error) {
			return &middleware{}, nil
		},
		component.StabilityLevelBeta,
	)
}
