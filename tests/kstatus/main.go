// Tells what kstatus, with which Flux judges the health of objects, makes of those in a JSON list on standard input.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type verdict struct {
	Status  status.Status `json:"status"`
	Message string        `json:"message"`
}

func judge() ([]verdict, error) {
	var objects []unstructured.Unstructured
	if err := json.NewDecoder(os.Stdin).Decode(&objects); err != nil {
		return nil, err
	}
	verdicts := make([]verdict, 0, len(objects))
	for i := range objects {
		result, err := status.Compute(&objects[i])
		if err != nil {
			return nil, err
		}
		verdicts = append(verdicts, verdict{result.Status, result.Message})
	}
	return verdicts, nil
}

func main() {
	verdicts, err := judge()
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(verdicts)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
