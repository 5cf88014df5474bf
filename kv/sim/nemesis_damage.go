package sim

import (
	"time"

	"github.com/shoal-kv/shoal/proto/region"
)

// A peer is told that its data is damaged, which it is not: it must serve nobody until a snapshot has replaced everything, lose nothing that it has
// acknowledged, and be whole soon. One peer of a region at a time; nobody could help two that are damaged in the same place.

func damageNemeses() []nemesis {
	return []nemesis{{name: "damage", every: 6 * time.Second, draw: drawMember, do: doDamage, aimed: true}}
}

func doDamage(c *Cluster, s Step) (func(), bool) {
	v, _ := c.leadership([]byte(s.Key))
	if v == nil || len(v.Region.Peers) < 3 || region.IsJoint(v.Region) {
		return nil, false
	}
	for _, p := range v.Region.Peers {
		if at := c.storeWith(p.StoreId); at == nil || !at.runs() || at.st.View(v.Region.Id) == nil || at.st.View(v.Region.Id).Damaged {
			return nil, false
		}
	}
	who := c.pick(v, s)
	return nil, c.storeWith(who.StoreId).st.Distrust(v.Region.Id, who.Id, "so says the nemesis")
}
