# OneGate of the rehearsal stand-in: virtual machines read and change what oned holds about themselves.
#
# Follows src/onegate/onegate-server.rb and src/cloud/common/CloudAuth/OneGateCloudAuth.rb of release-7.4.0, and for the
# listening keys release-6.10.5. Virtual routers and networks are answered as "not supported".

require_relative '../ruby-standin/standin'
require_relative 'lib/onegate'

Standin::OneGate.start
