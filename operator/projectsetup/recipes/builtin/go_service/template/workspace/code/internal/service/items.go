package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"unicode/utf8"
)

const (
	bodyLimit = 64 << 10
	nameLimit = 100
	noteLimit = 1000
)

// itemRoutes are the routes of /items, backed by the store.
func itemRoutes(store *ItemStore) http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /items", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, store.All())
	})
	routes.HandleFunc("POST /items", func(w http.ResponseWriter, r *http.Request) {
		item, err := readNewItem(http.MaxBytesReader(w, r.Body, bodyLimit))
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			writeError(w, http.StatusRequestEntityTooLarge, "the body has more than 64 KiB")
		case errors.Is(err, os.ErrDeadlineExceeded):
			writeError(w, http.StatusRequestTimeout, "the body did not arrive in time")
		case err != nil:
			writeError(w, http.StatusUnprocessableEntity, err.Error())
		default:
			writeJSON(w, http.StatusCreated, store.Add(item))
		}
	})
	routes.HandleFunc("GET /items/{id}", func(w http.ResponseWriter, r *http.Request) {
		item, found := store.Get(r.PathValue("id"))
		if !found {
			writeNoSuchItem(w, r)
			return
		}
		writeJSON(w, http.StatusOK, item)
	})
	routes.HandleFunc("DELETE /items/{id}", func(w http.ResponseWriter, r *http.Request) {
		if !store.Remove(r.PathValue("id")) {
			writeNoSuchItem(w, r)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return routes
}

// readNewItem decodes and checks an item; the error is written for callers.
func readNewItem(body io.Reader) (NewItem, error) {
	var item NewItem
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&item); err != nil {
		return NewItem{}, fmt.Errorf("the body is not an item: %w", err)
	}
	if err := decoder.Decode(&json.RawMessage{}); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("more follows it")
		}
		return NewItem{}, fmt.Errorf("the body is not an item: %w", err)
	}
	if length := utf8.RuneCountInString(item.Name); length < 1 || length > nameLimit {
		return NewItem{}, errors.New("name must have 1 to 100 characters")
	}
	if utf8.RuneCountInString(item.Note) > noteLimit {
		return NewItem{}, errors.New("note must have at most 1000 characters")
	}
	return item, nil
}

func writeNoSuchItem(w http.ResponseWriter, r *http.Request) {
	writeError(w, http.StatusNotFound, "there is no item "+r.PathValue("id"))
}
