# OneFlow of the rehearsal stand-in: services of several roles, whose virtual machines start in the order of their parents.
#
# Follows src/flow/oneflow-server.rb and src/flow/lib of release-7.4.0. Left out: scaling by itself, schedules, virtual
# router roles and networks made with a service.

require_relative '../ruby/ActionManager'
require_relative '../ruby-standin/standin'
require_relative 'lib/server'

Standin::OneFlow.start
