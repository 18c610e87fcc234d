//go:build tools

// Pins the engine's module: its main package is built as upstream wrote it.
package tools

import _ "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
