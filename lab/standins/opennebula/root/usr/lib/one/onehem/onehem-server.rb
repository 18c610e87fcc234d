# The hook execution manager of the rehearsal stand-in: runs hooks for oned's events and tells it the result.
#
# Follows src/hem/onehem-server.rb of release-7.4.0.

require_relative '../ruby-standin/standin'
require_relative 'lib/manager'

Standin::Hem.start
