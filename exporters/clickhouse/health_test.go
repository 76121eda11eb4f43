package clickhouse

import "testing"

func TestTheEngineTellsHowItDoes(t *testing.T) {
	s := open(t, testConfig(engine(t)))
	h, err := s.StoreHealth(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if h.Answered <= 0 || h.Rows < 0 || h.Parts < 0 || h.Bytes < 0 || h.Free <= 0 || h.Total < h.Free || h.Memory == 0 {
		t.Errorf("the engine tells %+v", h)
	}
}
