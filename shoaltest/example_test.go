package shoaltest_test

import (
	"context"
	"testing"

	"github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/rawkv"

	"github.com/shoal-kv/shoal/shoaltest"
)

// A test needs a line for the cluster and a line for each fault; the rest is the client library. TestAClusterForAnyTest and the program in
// examples/ run the like.
func ExampleStart() {
	_ = func(t *testing.T) { // TestSomethingOfYours
		c := shoaltest.Start(t, shoaltest.Stores(3))
		client, err := rawkv.NewClient(context.Background(), []string{c.PD()}, config.DefaultConfig().Security)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := client.Put(context.Background(), []byte("hello"), []byte("world")); err != nil {
			t.Fatal(err)
		}
		c.StopStore(0) // a majority is left
		value, err := client.Get(context.Background(), []byte("hello"))
		if err != nil || string(value) != "world" {
			t.Fatalf("got %q, %v", value, err)
		}
	}
}
