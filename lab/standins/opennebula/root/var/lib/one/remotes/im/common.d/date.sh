#!/bin/sh
set -eu
date +%s
