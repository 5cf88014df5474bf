package server_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func ruleIDs(r *rig, path string) (ids []string) {
	for _, rule := range shows[[]object](r, path) {
		ids = append(ids, fmt.Sprint(rule["group_id"], "/", rule["id"]))
	}
	return ids
}

func TestRulesAreSetAndLast(t *testing.T) {
	r, _ := newStill(t)
	require.Equal(t, []string{"pd/default"}, ruleIDs(r, "/config/rules"))
	r.does("POST", "/config/rule", `{"group_id":"g","id":"a","start_key":"61","end_key":"6D","role":"learner","count":1}`, "Update rule successfully.")
	r.does("POST", "/config/rule_group", `{"id":"g","index":3}`, "Update rule group successfully.")
	r.does("POST", "/config/rules/batch", `[
		{"group_id":"g","id":"b1","role":"learner","count":1,"action":"add"},
		{"group_id":"g","id":"b2","role":"learner","count":1,"start_key":"6e","end_key":"","action":"add"}]`, "Batch operations successfully.")
	for range 2 {
		require.Equal(t, []string{"pd/default", "g/a", "g/b1", "g/b2"}, ruleIDs(r, "/config/rules"))
		require.Equal(t, []string{"g/a", "g/b1", "g/b2"}, ruleIDs(r, "/config/rules/group/g"))
		require.Equal(t, []string{"pd/default", "g/b1"}, ruleIDs(r, "/config/rules/region/2"))
		require.Equal(t, []string{"pd/default", "g/a", "g/b1"}, ruleIDs(r, "/config/rules/key/61"))
		rule := shows[object](r, "/config/rule/g/a")
		require.Equal(t, object{"group_id": "g", "id": "a", "start_key": "61", "end_key": "6d", "role": "learner", "count": 1.0}, rule)
		require.Equal(t, []object{{"id": "pd"}, {"id": "g", "index": 3.0}}, shows[[]object](r, "/config/rule_groups"))
		require.InDelta(t, 3, shows[object](r, "/config/rule_group/g")["index"], 0)
		r.restart()
	}
	fit := shows[object](r, "/config/rules/region/2/detail")
	require.Len(t, fit["rule-fits"], 2)
	r.does("POST", "/config/rules/batch", `[{"group_id":"g","id":"b","action":"del","delete_by_id_prefix":true}]`, "Batch operations successfully.")
	r.does("DELETE", "/config/rule/g/a", "", "Delete rule successfully.")
	r.does("DELETE", "/config/rule_group/g", "", "Delete rule group successfully.")
	require.Equal(t, []string{"pd/default"}, ruleIDs(r, "/config/rules"))
	require.Len(t, shows[[]object](r, "/config/rule_groups"), 1)
}

// Rules that are set in place of all, with one that is dropped and set at once, are one write.
func TestRulesAreReplaced(t *testing.T) {
	r, _ := newStill(t)
	r.does("POST", "/config/rule", `{"group_id":"pd","id":"default","role":"voter","count":5}`, "Update rule successfully.")
	r.does("POST", "/config/rule", `{"group_id":"pd","id":"more","role":"learner","count":1}`, "Update rule successfully.")
	r.declines("POST", "/config/replicate", `{"max-replicas":4}`, 400, "rule pd/default was set and holds in place of max-replicas")
	r.does("POST", "/config/rules", `[{"group_id":"pd","id":"default","role":"voter","count":1},{"group_id":"pd","id":"default","role":"voter","count":2}]`,
		"Update rules successfully.")
	require.Equal(t, []string{"pd/default"}, ruleIDs(r, "/config/rules"))
	require.InDelta(t, 2, shows[object](r, "/config/rule/pd/default")["count"], 0)
	r.does("DELETE", "/config/rule/pd/default", "", "Delete rule successfully.")
	require.InDelta(t, 3, shows[object](r, "/config/rule/pd/default")["count"], 0)
}

func TestBundles(t *testing.T) {
	r, _ := newStill(t)
	bundle := func(id string, index int) string {
		return fmt.Sprintf(`{"group_id":%q,"group_index":%d,"rules":[{"id":"x","role":"learner","count":1}]}`, id, index)
	}
	r.does("POST", "/config/placement-rule", "["+bundle("a", 1)+","+bundle("b", 2)+"]", "Update rules and groups successfully.")
	r.does("POST", "/config/placement-rule?partial=true", "["+bundle("c", 3)+"]", "Update rules and groups successfully.")
	r.does("POST", "/config/placement-rule/b", bundle("b", 9), "Update group and rules successfully.")
	var ids []string
	for _, b := range shows[[]object](r, "/config/placement-rule") {
		ids = append(ids, fmt.Sprint(b["group_id"], b["group_index"], len(b["rules"].([]any))))
	}
	require.Equal(t, []string{"pd0 1", "a1 1", "c3 1", "b9 1"}, ids)
	require.Equal(t, "a", shows[object](r, "/config/placement-rule/a")["group_id"])
	r.does("DELETE", "/config/placement-rule/%5E%5Bab%5D$?regexp", "", "Delete group and rules successfully.")
	require.Equal(t, []string{"pd/default", "c/x"}, ruleIDs(r, "/config/rules"))
	r.does("POST", "/config/placement-rule", "["+bundle("d", 1)+"]", "Update rules and groups successfully.")
	require.Equal(t, []string{"pd/default", "d/x"}, ruleIDs(r, "/config/rules"))
	r.does("DELETE", "/config/placement-rule/d", "", "Delete group and rules successfully.")
	require.Equal(t, []string{"pd/default"}, ruleIDs(r, "/config/rules"))
}

func TestRulesSayWhatIsAllowed(t *testing.T) {
	r, _ := newStill(t)
	var many []string
	for i := range 101 {
		many = append(many, fmt.Sprintf(`{"group_id":"g","id":"%d","role":"learner","count":1,"action":"add"}`, i))
	}
	for _, c := range []struct {
		method, path, body string
		code               int
		part               string
	}{
		{"POST", "/config/rule", `{"id":"a","role":"voter","count":1}`, 400, "needs a group_id and an id"},
		{"POST", "/config/rule", `{"group_id":"g","id":"a","role":"king","count":1}`, 400, "must be voter, leader, follower or learner"},
		{"POST", "/config/rule", `{"group_id":"g","id":"a","role":"voter","count":0}`, 400, "must lie between 1 and 15"},
		{"POST", "/config/rule", `{"group_id":"g","id":"a","role":"voter","count":1,"start_key":"xyz"}`, 400, "hexadecimal digits"},
		{"POST", "/config/rule", `{"group_id":"g","id":"a","role":"voter","count":1,"label_constraints":[{"key":"z","op":"is","values":["1"]}]}`, 400, "must be in, notIn"},
		{"POST", "/config/rules", `[null]`, 400, "must not be null"},
		{"POST", "/config/rules", `[{"group_id":"pd","id":"default","role":"learner","count":1}]`, 400, "no rule asks for a voter"},
		{"POST", "/config/rules/batch", `[{"group_id":"g","id":"a","role":"learner","count":1,"action":"swap"}]`, 400, `"swap" must be add or del`},
		{"POST", "/config/rules/batch", "[" + strings.Join(many, ",") + "]", 400, "101 changes in one request; at most 100"},
		{"GET", "/config/rules/region/77", "", 404, "region 77 not found"},
		{"GET", "/config/rules/key/xy", "", 400, "hexadecimal digits"},
		{"GET", "/config/rule/g/none", "", 404, "rule g/none not found"},
		{"DELETE", "/config/rule/pd/default", "", 404, "not found among those that were set"},
		{"GET", "/config/rule_group/none", "", 404, "rule group none not found"},
		{"POST", "/config/rule_group", `{"id":""}`, 400, "must not be empty"},
		{"POST", "/config/placement-rule/a", `{"group_id":"b"}`, 400, "does not match request URI"},
		{"POST", "/config/placement-rule", `[{"group_id":"a","rules":[{"group_id":"b","id":"x","role":"voter","count":1}]}]`, 400, "not of the group a"},
		{"DELETE", "/config/placement-rule/(?regexp", "", 400, "missing closing"},
	} {
		r.declines(c.method, c.path, c.body, c.code, c.part)
	}
	require.Equal(t, []string{"pd/default"}, ruleIDs(r, "/config/rules"))
}
