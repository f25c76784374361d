// Prints the kstatus result, which Flux uses as the health of an object, of each object in a JSON list on standard input.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type health struct {
	Status  status.Status `json:"status"`
	Message string        `json:"message"`
}

func compute() ([]health, error) {
	var objects []unstructured.Unstructured
	if err := json.NewDecoder(os.Stdin).Decode(&objects); err != nil {
		return nil, err
	}
	results := make([]health, 0, len(objects))
	for i := range objects {
		computed, err := status.Compute(&objects[i])
		if err != nil {
			return nil, err
		}
		results = append(results, health{computed.Status, computed.Message})
	}
	return results, nil
}

func main() {
	results, err := compute()
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(results)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
