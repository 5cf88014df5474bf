package pdapi

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/scheduler/schedule/placement"
)

// Rules returns all placement rules in the order in which they are served.
func (c *Client) Rules(ctx context.Context) ([]*placement.Rule, error) {
	return c.rules(ctx, "/config/rules")
}

// RulesOf returns the rules that hold for a region.
func (c *Client) RulesOf(ctx context.Context, region uint64) ([]*placement.Rule, error) {
	return c.rules(ctx, fmt.Sprintf("/config/rules/region/%d", region))
}

// RulesAt returns the rules that hold for a key.
func (c *Client) RulesAt(ctx context.Context, key []byte) ([]*placement.Rule, error) {
	return c.rules(ctx, "/config/rules/key/"+hex.EncodeToString(key))
}

func (c *Client) rules(ctx context.Context, path string) ([]*placement.Rule, error) {
	var res []*placement.Rule
	return res, c.get(ctx, path, &res)
}

// SetRules adds rules, or puts them in the place of those that have their names: all or none.
func (c *Client) SetRules(ctx context.Context, rules []*placement.Rule) (string, error) {
	var batch []map[string]any
	for _, r := range rules {
		fields, err := fieldsOf(r)
		if err != nil {
			return "", err
		}
		fields["action"] = "add"
		batch = append(batch, fields)
	}
	return c.tell(ctx, http.MethodPost, "/config/rules/batch", batch)
}

func fieldsOf(r *placement.Rule) (fields map[string]any, err error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, errors.WithStack(err)
	}
	return fields, errors.WithStack(json.Unmarshal(text, &fields))
}

// RemoveRule removes one rule.
func (c *Client) RemoveRule(ctx context.Context, group, id string) (string, error) {
	return c.tell(ctx, http.MethodDelete, "/config/rule/"+url.PathEscape(group)+"/"+url.PathEscape(id), nil)
}

// RuleGroups returns the groups of rules.
func (c *Client) RuleGroups(ctx context.Context) ([]placement.Group, error) {
	var res []placement.Group
	return res, c.get(ctx, "/config/rule_groups", &res)
}
