// Package pdapi asks a scheduler's HTTP API what it knows, for commands that show it to people, and has it change what they steer:
// a file for each family of requests. It reads only what is shown; the API itself has more.
package pdapi

import (
	"bytes"
	"context"
	"encoding/json"
	stderrors "errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pingcap/errors"
)

const (
	prefix      = "/pd/api/v1"
	ownPrefix   = "/shoal/api/v1" // what the family's API does not have
	answerBy    = 5 * time.Second
	answerLimit = 256 << 20 // bytes: some million regions
)

// Client talks to any of a list of schedulers.
type Client struct {
	endpoints []string
	http      http.Client
}

// New takes host:port, with or without http://, or several separated by commas.
func New(endpoints string) (*Client, error) {
	c := &Client{http: http.Client{Timeout: answerBy}}
	for e := range strings.SplitSeq(endpoints, ",") {
		if !strings.Contains(e, "://") {
			e = "http://" + e
		}
		u, err := url.Parse(e)
		if err != nil || u.Port() == "" {
			return nil, errors.Errorf("%q is not a scheduler's address; it must be host:port", e)
		}
		c.endpoints = append(c.endpoints, u.Scheme+"://"+u.Host)
	}
	return c, nil
}

// Error is an answer other than 200.
type Error struct {
	Code    int
	Message string
}

// Error is the scheduler's own text.
func (e *Error) Error() string { return fmt.Sprintf("the scheduler answers %d: %s", e.Code, e.Message) }

func (c *Client) get(ctx context.Context, path string, into any) error {
	return c.do(ctx, http.MethodGet, path, nil, into)
}

// tell sends a body, if it is not nil, and returns the sentence that the scheduler answers, if any.
func (c *Client) tell(ctx context.Context, method, path string, body any) (string, error) {
	var said any
	err := c.do(ctx, method, path, body, &said)
	sentence, _ := said.(string) // null, mostly, when it is none
	return sentence, err
}

// UnreachableError says that no scheduler of a list could be talked to.
type UnreachableError struct {
	Endpoints []string
	Err       error // of the last one
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("the scheduler cannot be reached at %s: %v; is it running (`shoal playground` starts a cluster), and is that where (--pd host:port)?",
		strings.Join(e.Endpoints, ", "), e.Err)
}

// Unwrap is what the last one failed with.
func (e *UnreachableError) Unwrap() error { return e.Err }

// do asks for a path of the family's API.
func (c *Client) do(ctx context.Context, method, path string, body, into any) error {
	return c.doAt(ctx, method, prefix+path, body, into)
}

// doAt asks each endpoint until one answers. An answer that is an error is an answer, except for "not here".
func (c *Client) doAt(ctx context.Context, method, path string, body, into any) error {
	var text []byte
	var err error
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return errors.WithStack(err)
		}
	}
	for _, e := range c.endpoints {
		err = c.ask(ctx, method, e+path, text, into)
		var refused *Error
		if err == nil || (stderrors.As(err, &refused) && refused.Code != http.StatusServiceUnavailable) {
			return err
		}
	}
	var unreachable *url.Error
	if stderrors.As(err, &unreachable) {
		return &UnreachableError{c.endpoints, unreachable.Err}
	}
	return err
}

func (c *Client) ask(ctx context.Context, method, address string, text []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(text))
	if err != nil {
		return errors.WithStack(err)
	}
	if text != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	body, err := io.ReadAll(io.LimitReader(res.Body, answerLimit))
	if err != nil {
		return errors.Annotate(err, "the scheduler's answer broke off")
	}
	if res.StatusCode != http.StatusOK {
		var message string
		if json.Unmarshal(body, &message) != nil {
			message = strings.TrimSpace(string(body))
		}
		return &Error{Code: res.StatusCode, Message: message}
	}
	if len(bytes.TrimSpace(body)) == 0 && method != http.MethodGet {
		return nil // there is nothing to say about what was done
	}
	return errors.Annotatef(json.Unmarshal(body, into), "%s answers what is not a scheduler's JSON", address)
}
