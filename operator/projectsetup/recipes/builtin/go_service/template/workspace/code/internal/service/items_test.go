package service

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestAnItemLivesFromCreationToDeletion(t *testing.T) {
	client := newClient(t)
	created := client.call("POST", "/items", `{"name": "first", "note": "a note"}`)
	client.expect(http.StatusCreated, created)
	item := decode[Item](t, created)
	if item.Name != "first" || item.Note != "a note" || item.ID == "" {
		t.Errorf("got %v", item)
	}
	if got := decode[Item](t, client.call("GET", "/items/"+item.ID, "")); got != item {
		t.Errorf("got %v, expected %v", got, item)
	}
	client.expect(http.StatusNoContent, client.call("DELETE", "/items/"+item.ID, ""))
	if body := client.call("GET", "/items", "").Body.String(); strings.TrimSpace(body) != "[]" {
		t.Errorf("items remain: %s", body)
	}
}

func TestItemsAreListedOldestFirst(t *testing.T) {
	client := newClient(t)
	for _, name := range []string{"b", "a", "c"} {
		client.expect(http.StatusCreated, client.call("POST", "/items", `{"name": "`+name+`"}`))
	}
	var names []string
	for _, item := range decode[[]Item](t, client.call("GET", "/items", "")) {
		names = append(names, item.Name)
	}
	if !slices.Equal(names, []string{"b", "a", "c"}) {
		t.Errorf("got %v", names)
	}
}

func TestAnItemThatDoesNotExist(t *testing.T) {
	client := newClient(t)
	for _, method := range []string{"GET", "DELETE"} {
		response := client.call(method, "/items/absent", "")
		client.expect(http.StatusNotFound, response)
		if got := decode[map[string]string](t, response)["error"]; got != "there is no item absent" {
			t.Errorf("%s: got %q", method, got)
		}
	}
}

func TestItemsThatAreRefused(t *testing.T) {
	client := newClient(t)
	for _, body := range []string{
		"", "{", "{}", "[]", `{"name": ""}`, `{"name": 1}`, `{"name": "x", "other": 1}`,
		`{"name": "x"} garbage`, `{"name": "x"}{"name": "y"}`,
		`{"name": "` + strings.Repeat("x", 101) + `"}`,
		`{"name": "x", "note": "` + strings.Repeat("x", 1001) + `"}`,
	} {
		client.expect(http.StatusUnprocessableEntity, client.call("POST", "/items", body))
	}
	for _, body := range []string{
		`{"name": "x", "note": "` + strings.Repeat("x", bodyLimit) + `"}`,
		`{"name": "x"}` + strings.Repeat(" ", bodyLimit),
	} {
		client.expect(http.StatusRequestEntityTooLarge, client.call("POST", "/items", body))
	}
	if got := decode[[]Item](t, client.call("GET", "/items", "")); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	client.expect(http.StatusCreated, client.call("POST", "/items", `{"name": "`+strings.Repeat("ü", 100)+`"}`))
}
