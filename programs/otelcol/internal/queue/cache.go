package queue

// content is what a batch needs of a record.
type content struct {
	payload  []byte
	replayOf string
	kind     uint8
}

// payloadCache keeps the payloads that were written last, so that a sink that keeps up reads no file.
// Its owner guards it with Queue.mu.
type payloadCache struct {
	limit   int // bytes
	bytes   int
	records map[Ref]content
	order   []Ref // oldest first; may name removed payloads
}

func newPayloadCache(limit int) *payloadCache {
	return &payloadCache{limit: limit, records: map[Ref]content{}}
}

func (c *payloadCache) add(ref Ref, record content) {
	if len(record.payload) > c.limit {
		return
	}
	c.records[ref] = record
	c.bytes += len(record.payload)
	c.order = append(c.order, ref)
	for c.bytes > c.limit {
		c.remove(c.order[0])
		c.order = c.order[1:]
	}
	if len(c.order) > 2*len(c.records)+1024 {
		kept := make([]Ref, 0, len(c.records))
		for _, r := range c.order {
			if _, ok := c.records[r]; ok {
				kept = append(kept, r)
			}
		}
		c.order = kept
	}
}

func (c *payloadCache) remove(ref Ref) {
	if record, ok := c.records[ref]; ok {
		c.bytes -= len(record.payload)
		delete(c.records, ref)
	}
}
