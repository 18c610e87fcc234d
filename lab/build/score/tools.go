//go:build tools

// Pins kube-score's module: its main package is built as upstream wrote it.
package tools

import _ "github.com/zegl/kube-score/cmd/kube-score"
