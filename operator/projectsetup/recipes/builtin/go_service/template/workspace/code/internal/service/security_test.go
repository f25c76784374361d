package service

import (
	"net/http"
	"strings"
	"testing"
)

func TestWithoutOrWithAWrongToken(t *testing.T) {
	client := newClient(t)
	for _, authorization := range []string{
		"",
		"Bearer",
		"Bearer ",
		"Bearer wrong",
		"Bearer " + testToken + "x",
		"Bearer " + testToken[1:],
		"Bearer " + strings.ToUpper(testToken),
		"Bearer  " + testToken,
		"Basic " + testToken,
		testToken,
	} {
		response := client.with(authorization).call("GET", "/items", "")
		client.expect(http.StatusUnauthorized, response)
		if got := response.Header().Get("WWW-Authenticate"); got != "Bearer" {
			t.Errorf("%q: WWW-Authenticate is %q", authorization, got)
		}
		if response.Header().Get("Connection") != "close" {
			t.Errorf("%q: the answer waits for the body", authorization)
		}
		if strings.Contains(response.Body.String(), testToken) {
			t.Errorf("%q: the answer shows the token", authorization)
		}
	}
}

func TestWithTheRightToken(t *testing.T) {
	client := newClient(t)
	client.expect(http.StatusOK, client.call("GET", "/items", ""))
	client.expect(http.StatusOK, client.with("bearer "+testToken).call("GET", "/items", ""))
}

func TestEveryOtherRouteIsGuarded(t *testing.T) {
	anonymous := newClient(t).with("")
	for _, route := range [][2]string{
		{"GET", "/items"}, {"POST", "/items"}, {"GET", "/items/1"}, {"DELETE", "/items/1"}, {"GET", "/"}, {"GET", "/other"},
	} {
		anonymous.expect(http.StatusUnauthorized, anonymous.call(route[0], route[1], ""))
	}
}

func TestARefusedCallChangesNothing(t *testing.T) {
	client := newClient(t)
	client.expect(http.StatusUnauthorized, client.with("Bearer wrong").call("POST", "/items", `{"name": "x"}`))
	if got := decode[[]Item](t, client.call("GET", "/items", "")); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestATokenIsRequiredAndNeverShown(t *testing.T) {
	for token, want := range map[string]string{
		"":          "SERVICE_API_TOKEN is not set",
		"too-short": "SERVICE_API_TOKEN must have at least 16 characters",
	} {
		_, err := SettingsFrom(environment(map[string]string{"SERVICE_API_TOKEN": token}))
		if err == nil || err.Error() != want {
			t.Errorf("%q: got %v", token, err)
		}
	}
}
