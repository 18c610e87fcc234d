# What the Ruby daemons of the rehearsal stand-in share. No gem: Ruby 3.1 and Debian's ruby-webrick and ruby-xmlrpc.

require 'json'
require_relative 'release'
require_relative 'locations'
require_relative 'settings'
require_relative 'journal'
require_relative 'oned'
require_relative 'web'
require_relative 'zmtp'
