# Which OpenNebula release the daemons stand for: 7.4, or 6.10 where ONE_STANDIN_VERSION or the file
# /usr/lib/one/standin/VERSION says so, which oned's part of the tree reads as well.

module Standin

    VERSION_FILE = File.expand_path('../standin/VERSION', __dir__).freeze
    VERSIONS = { '7.4' => '7.4.0', '6.10' => '6.10.5' }.freeze

    def self.version
        wanted = ENV.fetch('ONE_STANDIN_VERSION') { File.file?(VERSION_FILE) ? File.read(VERSION_FILE) : '7.4' }.strip
        VERSIONS.fetch(wanted.split('.').first(2).join('.')) do
            abort "ONE_STANDIN_VERSION or #{VERSION_FILE} says #{wanted}; this stand-in knows #{VERSIONS.keys.join(' and ')}"
        end
    end

    def self.legacy?
        version.start_with?('6.')
    end

    def self.banner(daemon)
        "OpenNebula #{version} #{daemon} rehearsal stand-in"
    end

end
