package service

import (
	"crypto/rand"
	"slices"
	"sync"
)

// NewItem is an item as callers send it.
type NewItem struct {
	Name string `json:"name"`
	Note string `json:"note"`
}

// Item is an item as the service keeps it.
type Item struct {
	ID string `json:"id"`
	NewItem
}

// ItemStore keeps items in memory. Replace it with a database to make them persistent.
type ItemStore struct {
	mutex sync.RWMutex
	items []Item
}

// NewItemStore creates an empty store.
func NewItemStore() *ItemStore {
	return &ItemStore{items: []Item{}}
}

// All returns every item, oldest first.
func (s *ItemStore) All() []Item {
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	return slices.Clone(s.items)
}

// Add stores the item under a new id.
func (s *ItemStore) Add(created NewItem) Item {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	item := Item{ID: rand.Text(), NewItem: created}
	s.items = append(s.items, item)
	return item
}

// Get returns the item, and false if there is none.
func (s *ItemStore) Get(id string) (Item, bool) {
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	if index := s.index(id); index >= 0 {
		return s.items[index], true
	}
	return Item{}, false
}

// Remove returns false if there was no such item.
func (s *ItemStore) Remove(id string) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	index := s.index(id)
	if index < 0 {
		return false
	}
	s.items = slices.Delete(s.items, index, index+1)
	return true
}

func (s *ItemStore) index(id string) int {
	return slices.IndexFunc(s.items, func(item Item) bool { return item.ID == id })
}
