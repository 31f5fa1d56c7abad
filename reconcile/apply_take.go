package reconcile

// takeAll makes what identities were brought along with durable, all in one commit.
func (r *run) takeAll(steps []Step) {
	start := r.Clock()
	var begun []Step
	for _, s := range steps {
		if r.begin(s) {
			begun = append(begun, s)
			id := r.ids[s.Action.(TakeIn).Identity]
			i := r.w.Pairs[id.Name].Issued
			i.Wanted, i.Reason = profileOf(id), s.Reason
			r.st.Identities[id.Name] = i
		}
	}
	if len(begun) == 0 {
		return
	}
	err := r.commit()
	for _, s := range begun {
		r.end(s, err, start)
	}
}
