# The noVNC proxy's lock file and token files (src/sunstone/models/sunstone_vnc.rb of release-6.10.5).

require 'fileutils'
require 'securerandom'

module Standin

    module Vnc

        LOCK = "#{LOCK_LOCATION}/.novnc.lock".freeze
        TOKENS = "#{VAR_LOCATION}/sunstone_vnc_tokens".freeze
        PROXY = "#{SHARE_LOCATION}/websockify/run".freeze

        # The proxy's process id while it lives; a lock file of a dead one is taken away.
        def self.running
            pid = File.read(LOCK).to_i
            Process.kill(0, pid)
            pid
        rescue Errno::ENOENT
            nil
        rescue Errno::ESRCH, RangeError
            File.delete(LOCK)
            nil
        end

        # A token for one VM's console.
        # @return [String]
        def self.token(id, host, port)
            token = SecureRandom.alphanumeric(20).downcase
            FileUtils.mkdir_p(TOKENS)
            File.write("#{TOKENS}/one-#{id}", "#{token}: #{host}:#{port}")
            token
        end

        def self.clear_tokens
            FileUtils.mkdir_p(TOKENS)
            Dir.glob("#{TOKENS}/*").each {|file| File.delete(file) }
        end

    end

end
