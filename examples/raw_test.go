// Package examples is a program outside Shoal's module that tests itself against a real cluster.
package examples

import (
	"context"
	"testing"

	"github.com/shoal-kv/shoal/shoaltest"
	"github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/rawkv"
)

func TestSurvivesAStore(t *testing.T) {
	cluster := shoaltest.Start(t, shoaltest.Stores(3))
	ctx := context.Background()
	client, err := rawkv.NewClient(ctx, []string{cluster.PD()}, config.DefaultConfig().Security)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Put(ctx, []byte("hello"), []byte("world")); err != nil {
		t.Fatal(err)
	}
	cluster.StopStore(0)
	if v, err := client.Get(ctx, []byte("hello")); err != nil || string(v) != "world" {
		t.Fatalf("got %q, %v", v, err)
	}
}
