package storeanswers

import (
	"bytes"
	"context"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/extensionmiddleware"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	// maxReadBytes of an answer are read for its text.
	maxReadBytes = 4 << 10
	// maxTextBytes of it are kept: an error is stored and shown.
	maxTextBytes = 2 << 10
	// maxDrainBytes are read so that the connection can be used again: as many as otlphttpexporter reads.
	maxDrainBytes = 64 << 10

	protobufType = "application/x-protobuf"
)

type middleware struct {
	component.StartFunc
	component.ShutdownFunc
}

var _ extensionmiddleware.HTTPClient = (*middleware)(nil)

// GetHTTPRoundTripper is called when an exporter makes its client.
func (*middleware) GetHTTPRoundTripper(context.Context) (extensionmiddleware.WrapHTTPRoundTripperFunc, error) {
	return func(_ context.Context, next http.RoundTripper) (http.RoundTripper, error) {
		return &roundTripper{next: next}, nil
	}, nil
}

type roundTripper struct {
	next http.RoundTripper
}

func (r *roundTripper) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := r.next.RoundTrip(request)
	if err != nil || response.StatusCode < 300 || !isText(response.Header) {
		return response, err
	}
	text := textOf(response.Body)
	body, err := proto.Marshal(&status.Status{Message: text})
	if err != nil { // only for text that is not UTF-8
		body = nil
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	response.ContentLength = int64(len(body))
	response.TransferEncoding = nil
	response.Header.Set("Content-Type", protobufType)
	response.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return response, nil
}

// isText tells whether a body can be taken for a text. Loki sends its google.rpc.Status as application/octet-stream.
func isText(header http.Header) bool {
	if header.Get("Content-Encoding") != "" {
		return false // net/http has undone gzip; what is left is packed
	}
	mediaType, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	switch mediaType {
	case protobufType, "application/protobuf", "application/vnd.google.protobuf", "application/octet-stream":
		return false
	}
	return true
}

// textOf reads the start of a body, drains it and closes it.
func textOf(body io.ReadCloser) string {
	defer body.Close()
	start, err := io.ReadAll(io.LimitReader(body, maxReadBytes)) // what came before an error is worth as much
	if err == nil {
		_, _ = io.CopyN(io.Discard, body, maxDrainBytes)
	}
	text := strings.TrimSpace(strings.ToValidUTF8(string(start), "\uFFFD"))
	if len(text) <= maxTextBytes {
		return text
	}
	end := maxTextBytes
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}
