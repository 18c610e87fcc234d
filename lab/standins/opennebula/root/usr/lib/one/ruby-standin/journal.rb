# The log file of a daemon in OpenNebula's line format (CloudLogger in src/cloud/common/CloudServer.rb).

require 'logger'
require 'syslog/logger'

module Standin

    module Journal

        LEVELS = [Logger::ERROR, Logger::WARN, Logger::INFO, Logger::DEBUG].freeze
        DATE = '%a %b %d %H:%M:%S %Y'.freeze

        # A directory that cannot be written ends the daemon, as it does the real one.
        def self.open(name, level, system = 'file')
            return Syslog::Logger.new(name) if system == 'syslog'

            logger = Logger.new("#{LOG_LOCATION}/#{name}.log")
            logger.level = LEVELS.fetch(level, Logger::INFO)
            logger.formatter = proc do |severity, time, _, text|
                format("%s [%s]: %s\n", time.strftime(DATE), severity[0], text)
            end
            logger
        end

    end

end
