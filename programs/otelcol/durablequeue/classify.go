package durablequeue

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/consumer/consumererror"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"lkeobs/programs/otelcol/internal/rules"
)

// class of an error that a sink's pipeline answered.
type class int

const (
	// permanent: the data is refused, and always will be.
	permanent class = iota + 1
	// connection: the store was not reached, or it does not let us in. No data is the cause.
	connection
	// retryable: the store answered, or broke off; the data may be the cause.
	retryable
)

func (c class) String() string {
	return [...]string{"", "permanent", "connection", "retryable"}[c]
}

type verdict struct {
	class class
	// delay that the store asks for, or 0.
	delay time.Duration
	// bare: the text says nothing but a status code.
	bare bool
	// load: the store has too much to do (429, ResourceExhausted).
	load bool
}

// How the exporters put an HTTP status into their text: otlphttpexporter v0.160.0 otlp.go export(), and splunkhecexporter
// v0.157.0 internal/splunk httprequest.go HandleHTTPCode().
var httpStatus = []*regexp.Regexp{
	regexp.MustCompile(`responded with HTTP Status Code (\d{3})`),
	regexp.MustCompile(`^(?:Permanent error: |Throttle \([^)]*\), error: )*HTTP "[^"]*" (\d{3}) "`),
}

var (
	bareStatus    = regexp.MustCompile(`HTTP Status Code \d{3}(?:, Message=, Details=\[\])?$|HTTP "[^"]*" \d{3} "[^"]*"$`)
	throttleDelay = regexp.MustCompile(`Throttle \(([^)]*)\), error: `)
)

// Texts of 5xx and ResourceExhausted answers that do not change however often the same data is sent.
var neverChanges = map[string][]string{
	rules.Loki: {
		// loki v3.7.8 pkg/storage/config/schema_config.go:742, a plain error, so 500, which push.OTLPError makes 503.
		"no schema config found for time",
	},
	// A plain error of the translation or of tsdb's checks, so 500 by prometheus v0.316.0 storage/remote/write_otlp_handler.go
	// ServeHTTP. It answers in text/plain, which otlphttpexporter shows only behind the HTTP middleware of package storeanswers.
	// The rules take most of these points out before.
	rules.Prometheus: {
		// storage/remote/otlptranslator/prometheusremotewrite/metrics_to_prw.go:303 and :407
		"invalid temporality and type combination", "unsupported metric type",
		// the same folder, helper.go:244 and :396, histograms.go:98
		"could not get aggregation temporality for", "unsupported exemplar value type", "cannot convert exponential to native histogram",
		// otlptranslator v1.0.0 metric_namer.go:161 and :175, label_namer.go:67, :72 and :87
		"normalization for metric ", "normalization for label name ", "label name is empty", "contains only underscores",
		// model/histogram/generic.go:40-58, with a context before
		"histogram's observation count", "histogram has a bucket whose observation count is negative", "histogram has a span whose",
		"histogram spans specify different number of buckets", "histogram custom bounds", "custom buckets: must",
		"histogram with exponential schema must not have custom bounds", "histogram has an invalid schema", "histogram has an unknown schema",
		// tsdb/head_append.go:568 and :571
		"empty labelset: invalid sample", "is not unique: invalid sample",
	},
	rules.Tempo: {
		// tempo 2.8 modules/distributor/distributor.go:395: the piece is larger than the limit and the burst together.
		"exceeds ingestion limit",
	},
}

// Texts of a disk, a storage or a deadline, which pass. Prometheus joins the errors of a whole request into one answer, so
// that they may stand beside one that never changes.
var mayPass = map[string][]string{
	rules.Prometheus: {
		// tsdb/head_append.go:1135-1200 and :1792
		"write to WAL: ", "log series: ", "log metadata: ", "log samples: ", "log histograms: ", "log custom buckets ", "log float histograms: ", "log exemplars: ",
		// Go and the kernel
		"no space left on device", "input/output error", "read-only file system", "too many open files", "cannot allocate memory", "disk quota exceeded",
		"context canceled", "context deadline exceeded",
	},
}

// staysSo tells whether the answer to the same data will always be this one.
func staysSo(text, kind string) bool {
	return containsAny(text, neverChanges[kind]) && !containsAny(text, mayPass[kind])
}

// Texts of a size limit: grpc-go rpc_util.go, ResourceExhausted by sender or receiver.
var tooLargeTexts = []string{"larger than max", "message too large"}

// Texts of data that cannot be decoded: grpc-go and the OTLP receivers.
var undecodableTexts = []string{"error unmarshalling", "failed to unmarshal", "could not unmarshal", "proto: "}

// Texts of grpc-go that mean that there is no connection: clientconn.go, picker_wrapper.go, http2_client.go, resolver.
var connectionTexts = []string{
	"connection error: desc", "error while dialing", "name resolver error", "produced zero addresses", "no children to pick from",
	"error reading server preface", "authentication handshake failed", "last connection error", "latest balancer error",
	"the client connection is closing",
	// net/http and this collector
	"server gave HTTP response to HTTPS client", "proxyconnect tcp", "exporter not started", "connection refused", "no such host",
	"network is unreachable", "no route to host", "TLS handshake timeout", "remote error: tls",
}

func containsAny(text string, parts []string) bool {
	for _, part := range parts {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

// classify tells what an error says about the data. It is stricter than consumererror.IsPermanent, because the
// exporters call permanent whatever is not worth a retry in a minute: an expired token, an HTTP 500, a gRPC Internal.
func classify(err error, kind string, agent bool) verdict {
	text := err.Error()
	v := verdict{delay: retryDelay(err, text), bare: bareStatus.MatchString(text)}
	if s, ok := status.FromError(err); ok && s.Code() == codes.ResourceExhausted || strings.Contains(text, "HTTP Status Code 429") {
		v.load = true
	}
	v.class = classOf(err, text, kind, agent)
	return v
}

func classOf(err error, text, kind string, agent bool) class {
	var op *net.OpError
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &op) && op.Op == "dial", errors.As(err, &dns), errors.As(err, &certificate), errors.As(err, &record):
		return connection
	}
	code := codes.OK
	if s, ok := status.FromError(err); ok {
		code = s.Code()
	}
	http := 0
	for _, form := range httpStatus {
		if m := form.FindStringSubmatch(text); m != nil {
			http, _ = strconv.Atoi(m[1])
			break
		}
	}
	if agent {
		switch {
		case http == 400, http == 413, http == 422, http == 0 && code == codes.InvalidArgument, containsAny(text, tooLargeTexts):
			return permanent
		case code != codes.Unavailable && http == 0 && containsAny(text, undecodableTexts):
			return permanent
		}
		return connection
	}
	if http != 0 {
		switch {
		case http == 401, http == 403, http == 404, http == 405, http == 407, http == 415, http < 400:
			return connection // a token, a path, a proxy: not the data
		case http == 408, http == 425, http == 429:
			return retryable
		case http >= 500 && staysSo(text, kind):
			return permanent
		case http >= 500:
			return retryable
		}
		return permanent
	}
	switch code {
	case codes.OK: // no status
	case codes.InvalidArgument:
		return permanent
	case codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented:
		return connection
	case codes.Unavailable:
		if containsAny(text, connectionTexts) {
			return connection
		}
		return retryable
	case codes.ResourceExhausted:
		if containsAny(text, tooLargeTexts) || staysSo(text, kind) {
			return permanent
		}
		return retryable
	case codes.Internal, codes.Unknown:
		if containsAny(text, undecodableTexts) {
			return permanent
		}
		if code == codes.Unknown && !hasStatus(err) {
			break // no gRPC answer at all
		}
		return retryable
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.DataLoss, codes.OutOfRange:
		return retryable
	default:
		return permanent
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return retryable
	case consumererror.IsPermanent(err):
		return permanent
	case containsAny(text, connectionTexts):
		return connection
	}
	return retryable
}

func hasStatus(err error) bool {
	var s interface{ GRPCStatus() *status.Status }
	return errors.As(err, &s)
}

func retryDelay(err error, text string) time.Duration {
	const most = time.Minute
	if s, ok := status.FromError(err); ok {
		for _, detail := range s.Details() {
			if info, ok := detail.(*errdetails.RetryInfo); ok {
				return min(max(info.GetRetryDelay().AsDuration(), 0), most)
			}
		}
	}
	if m := throttleDelay.FindStringSubmatch(text); m != nil {
		if d, err := time.ParseDuration(m[1]); err == nil {
			return min(max(d, 0), most)
		}
	}
	return 0
}

var (
	quotedPart = regexp.MustCompile(`"[^"]*"|'[^']*'|\x60[^\x60]*\x60|\{[^{}]*\}`)
	numberPart = regexp.MustCompile(`[0-9a-fA-F]*[0-9][0-9a-fA-F]*`)
)

// normalize makes the texts of one cause equal: quoted parts, ids and numbers are left out.
func normalize(text string) string {
	if len(text) > 4096 {
		text = text[:4096]
	}
	text = throttleDelay.ReplaceAllString(text, "")
	return numberPart.ReplaceAllString(quotedPart.ReplaceAllString(text, "?"), "#")
}
