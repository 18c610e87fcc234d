# The YAML configuration files with symbols as keys, checked key by key.
#
# Stricter than the real daemons on purpose: those ignore a key that they do not know and fail late on a wrong type; a
# rehearsal ends at once, with the real one's exit code for a broken file. Keys that another release knows are ignored
# as the real one ignores them, with a warning in the log.

require 'uri'
require 'yaml'

module Standin

    # One configuration file. `grammar` maps a key to a check (anything with ===) or to a nested grammar.
    module Settings

        BOOLEAN = ->(value) { [true, false].include?(value) }
        PORT = ->(value) { value.is_a?(Integer) && value.between?(1, 65_535) }
        URL = ->(value) { value.is_a?(String) && value.match?(%r{\Ahttps?://[^\s"]+\z}) }
        ZEROMQ = ->(value) { value.is_a?(String) && value.match?(%r{\Atcp://[^\s:]+:\d+\z}) }
        COUNT = ->(value) { value.is_a?(Integer) && value >= 0 }
        LEVEL = ->(value) { value.is_a?(Integer) && value.between?(0, 3) }
        LOG = { :level => LEVEL, :system => ->(value) { ['file', 'syslog'].include?(value) } }.freeze
        TEXTS = ->(value) { value.nil? || (value.is_a?(Array) && value.all?(String)) }
        ANY = ->(_) { true }

        # @return [Hash] the file's content over `defaults`
        def self.load(path, grammar, defaults: {}, ignored: [])
            values = YAML.load_file(path)
            raise 'it is not a mapping' unless values.is_a?(Hash)

            ignored.each do |key|
                next unless values.key?(key)

                warn "#{path}: #{key.inspect} is not a key of #{Standin.version} and is ignored"
                values.delete(key)
            end
            check(values, grammar, [])
            deep(defaults, values)
        rescue StandardError => e
            warn "Error parsing config file #{path}: #{e.message}"
            exit 1
        end

        def self.check(values, grammar, path)
            raise "#{name(path)} is not a mapping" unless values.is_a?(Hash)

            values.each do |key, value|
                rule = grammar[key]
                here = path + [key]
                raise "unknown key #{name(here)}" if rule.nil?

                if rule.is_a?(Hash)
                    check(value, rule, here)
                elsif !(rule === value)
                    raise "#{name(here)} cannot be #{value.inspect}"
                end
            end
        end

        def self.deep(defaults, values)
            defaults.merge(values) do |_, old, new|
                old.is_a?(Hash) && new.is_a?(Hash) ? deep(old, new) : new
            end
        end

        def self.name(path)
            path.map {|key| key.is_a?(Symbol) ? ":#{key}:" : key.inspect }.join(' ')
        end

        private_class_method :check, :deep, :name

    end

end
