# Where the real daemons have their files, with and without ONE_LOCATION (top of each real *-server.rb).

module Standin

    ONE_LOCATION = ENV.fetch('ONE_LOCATION', nil)
    ETC_LOCATION = ONE_LOCATION ? "#{ONE_LOCATION}/etc" : '/etc/one'
    VAR_LOCATION = ONE_LOCATION ? "#{ONE_LOCATION}/var" : '/var/lib/one'
    LOG_LOCATION = ONE_LOCATION ? "#{ONE_LOCATION}/var" : '/var/log/one'
    LOCK_LOCATION = ONE_LOCATION ? "#{ONE_LOCATION}/var" : '/var/lock/one'
    SHARE_LOCATION = ONE_LOCATION ? "#{ONE_LOCATION}/share" : '/usr/share/one'

end
