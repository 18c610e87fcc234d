# The legacy Sunstone of the rehearsal stand-in for OpenNebula 6.10: login, sessions, and pools as JSON.
#
# Follows src/sunstone/sunstone-server.rb of release-6.10.5.

ENV['ONE_STANDIN_VERSION'] = '6.10' # the release that has it

require_relative '../ruby-standin/standin'
require_relative 'lib/server'

Standin::Sunstone.start
