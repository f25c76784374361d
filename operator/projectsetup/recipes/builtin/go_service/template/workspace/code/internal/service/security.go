package service

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// requireToken answers 401 to requests without `Authorization: Bearer TOKEN`.
func requireToken(token string, next http.Handler) http.Handler {
	expected := sha256.Sum256([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		given := sha256.Sum256([]byte(credentials))
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(given[:], expected[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.Header().Set("Connection", "close") // without it, the answer would wait for the body
			writeError(w, http.StatusUnauthorized, "a valid token is required")
			return
		}
		next.ServeHTTP(w, r)
	})
}
