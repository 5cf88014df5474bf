package ctl

import "strings"

// meaning is what a key of the configuration means, and what it can be.
type meaning struct{ meaning, allowed string }

const (
	yesOrNo  = "true or false"
	count    = "a whole number that is not negative"
	share    = "a number from 0 to 1"
	duration = "a duration, such as 30m or 1h"
)

// choices are the values where that is a short list.
func (m meaning) choices() []string {
	if strings.HasPrefix(m.allowed, "a ") {
		return nil
	}
	return strings.Split(m.allowed, " or ")
}

// configMeanings are all keys.
func configMeanings() map[string]meaning {
	return map[string]meaning{
		"max-replicas":         {"replicas of each region, where no placement rule says otherwise", "a whole number from 1 to 15"},
		"location-labels":      {"store labels that replicas should differ in, the most important first", "a list of label names with commas between them"},
		"isolation-level":      {"label in which replicas must differ, even if some are missing then", "a name among location-labels, or nothing"},
		"strictly-match-label": {"refuse stores that lack one of the location-labels", yesOrNo},

		"enable-placement-rules":       {"replicas are placed by rules (`shoal ctl placement`)", "true"},
		"enable-placement-rules-cache": {"accepted for other tools; nothing is remembered", "false"},

		"leader-schedule-limit":     {"leader moves at once, for balance", count},
		"region-schedule-limit":     {"peer moves at once, for balance", count},
		"replica-schedule-limit":    {"repairs of replicas at once", count},
		"merge-schedule-limit":      {"merges at once; 0 means none", count},
		"hot-region-schedule-limit": {"moves of hot regions at once", count},
		"max-snapshot-count":        {"snapshots that a store may be busy with and still get peers", count},
		"max-pending-peer-count":    {"peers of a store that may be catching up while it gets more", count},
		"store-limit-add-peer":      {"peers a minute that may come to a store", "a number above 0"},
		"store-limit-remove-peer":   {"peers a minute that may go from a store", "a number above 0"},

		"leader-schedule-policy":          {"balance leaders by their number or by the size of what they lead", "count or size"},
		"tolerant-size-ratio":             {"by how many average regions stores may differ; 0: by their number", "a number that is not negative"},
		"low-space-ratio":                 {"a store this full gets no more peers", share},
		"high-space-ratio":                {"a store this full counts as fuller than it is; at most low-space-ratio", share},
		"hot-region-cache-hits-threshold": {"reports in a row for which a region must be hot to be moved", count},
		"halt-scheduling":                 {"stop everything but what is asked for by hand", yesOrNo},

		"max-store-down-time":            {"how long a store may be silent until its replicas are made anew elsewhere", duration},
		"enable-make-up-replica":         {"add replicas where some are missing", yesOrNo},
		"enable-remove-down-replica":     {"replace replicas on stores that are down", yesOrNo},
		"enable-replace-offline-replica": {"move replicas from stores that are being drained", yesOrNo},
		"enable-remove-extra-replica":    {"remove replicas that no rule asks for", yesOrNo},
		"enable-location-replacement":    {"move replicas to places that fit the location-labels better", yesOrNo},
		"enable-joint-consensus":         {"change several peers of a region in one step", yesOrNo},
		"enable-raft-learner":            {"let a new peer learn before it votes", yesOrNo},

		"max-merge-region-size": {"regions of less MiB are merged; 0 means none", count},
		"max-merge-region-keys": {"regions of fewer keys are merged", count},
		"split-merge-interval":  {"how long after a split its parts are not merged", duration},
		"enable-one-way-merge":  {"merge regions into the next one only", yesOrNo},
	}
}
