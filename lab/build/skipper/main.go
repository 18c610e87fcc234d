// Skipper, the lab's ingress controller, with WebSockets that lose nothing and answers that HTTP/2 takes.
//
// Its own -experimental-upgrade reads the backend's answer through a buffer and then drops the buffer: what the backend
// sends right behind its "101 Switching Protocols" is gone (proxy/upgrade.go at v0.21.0). Here an upgrade takes the path of
// every other request, through Skipper's filters and its choice of a backend, and the connection that Go's transport
// returns with the 101 is joined to the client's.
package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"strings"

	log "github.com/sirupsen/logrus"
	"github.com/zalando/skipper"
	"github.com/zalando/skipper/config"
)

func main() {
	settings := config.NewConfig()
	if err := settings.Parse(); err != nil {
		log.Error(err)
		os.Exit(2)
	}
	log.SetLevel(settings.ApplicationLogLevel)
	options := settings.ToOptions()
	headers := options.CustomHttpHandlerWrap // of -forwarded-headers
	options.CustomHttpHandlerWrap = func(next http.Handler) http.Handler {
		next = joining(next)
		if headers != nil {
			next = headers(next)
		}
		return next
	}
	options.CustomHttpRoundTripperWrap = asking
	if err := skipper.Run(options); err != nil {
		log.Fatal(err)
	}
}

type upgradeKey struct{}

// One request for another protocol; backend is set once the backend agreed.
type upgrade struct {
	protocol string
	backend  io.ReadWriteCloser
}

// The protocol that a request asks for, or "".
func wanted(request *http.Request) string {
	for _, value := range request.Header.Values("Connection") {
		for _, token := range strings.Split(value, ",") {
			if strings.EqualFold(strings.TrimSpace(token), "upgrade") {
				return request.Header.Get("Upgrade")
			}
		}
	}
	return ""
}

// Skipper takes hop-by-hop headers away from every request; these two come back for an upgrade. From answers it takes none:
// Node sends Keep-Alive with each, and HTTP/2 clients break off when they see it (RFC 9113, 8.2.2).
func asking(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		wish, ok := request.Context().Value(upgradeKey{}).(*upgrade)
		if !ok {
			response, err := next.RoundTrip(request)
			if err == nil {
				response.Header.Del("Keep-Alive")
			}
			return response, err
		}
		request.Header.Set("Connection", "Upgrade")
		request.Header.Set("Upgrade", wish.protocol)
		response, err := next.RoundTrip(request)
		if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
			return response, err
		}
		if backend, ok := response.Body.(io.ReadWriteCloser); ok {
			wish.backend, response.Body = backend, http.NoBody
		}
		return response, nil
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

func joining(next http.Handler) http.Handler {
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		protocol := wanted(request)
		if protocol == "" {
			next.ServeHTTP(writer, request)
			return
		}
		wish := &upgrade{protocol: protocol}
		inner := request.WithContext(context.WithValue(request.Context(), upgradeKey{}, wish))
		next.ServeHTTP(&answer{ResponseWriter: writer, wish: wish}, inner)
		if wish.backend == nil {
			return
		}
		defer wish.backend.Close()
		client, buffered, err := http.NewResponseController(writer).Hijack()
		if err != nil {
			log.Errorf("upgrade to %s: %v", protocol, err)
			return
		}
		defer client.Close()
		if err := switched(buffered.Writer, writer.Header(), protocol); err != nil {
			log.Debugf("upgrade to %s: %v", protocol, err)
			return
		}
		done := make(chan struct{}, 2)
		pipe := func(to io.Writer, from io.Reader) {
			_, _ = io.Copy(to, from)
			done <- struct{}{}
		}
		go pipe(wish.backend, buffered.Reader) // what the client sent early is in this reader
		go pipe(client, wish.backend)
		<-done // either end is the end of both
	})
}

func switched(to *bufio.Writer, header http.Header, protocol string) error {
	header.Set("Connection", "Upgrade")
	header.Set("Upgrade", protocol)
	if _, err := to.WriteString("HTTP/1.1 101 Switching Protocols\r\n"); err != nil {
		return err
	}
	if err := header.Write(to); err != nil {
		return err
	}
	if _, err := to.WriteString("\r\n"); err != nil {
		return err
	}
	return to.Flush()
}

// Holds a 101 back: it is written once the connection is ours. Everything else passes.
type answer struct {
	http.ResponseWriter
	wish *upgrade
}

func (a *answer) WriteHeader(status int) {
	if a.wish.backend == nil {
		a.ResponseWriter.WriteHeader(status)
	}
}

func (a *answer) Write(data []byte) (int, error) {
	if a.wish.backend == nil {
		return a.ResponseWriter.Write(data)
	}
	return len(data), nil
}

func (a *answer) Flush() {
	if flusher, ok := a.ResponseWriter.(http.Flusher); ok && a.wish.backend == nil {
		flusher.Flush()
	}
}
