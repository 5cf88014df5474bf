package recovery

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"

	"github.com/pingcap/errors"
)

// largestAnswer bounds what a store may answer, in bytes.
const largestAnswer = 256 << 20

// Replicas asks the store whose status server is at this address what it has.
func Replicas(ctx context.Context, status string) (held []Replica, err error) {
	return held, ask(ctx, http.MethodGet, status, nil, &held)
}

// Force gives a store its orders, and answers what became of each. After an error some may be carried out: all can be given again.
func Force(ctx context.Context, status string, orders []Order) (told []Outcome, err error) {
	return told, ask(ctx, http.MethodPost, status, orders, &told)
}

func ask(ctx context.Context, method, status string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+status+"/recover", bytes.NewReader(text))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, largestAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.Errorf("the store at %s answers %d: %s", status, resp.StatusCode, bytes.TrimSpace(answer))
	}
	return json.Unmarshal(answer, into)
}
