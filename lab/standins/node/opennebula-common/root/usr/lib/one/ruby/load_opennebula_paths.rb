# Rehearsal stand-in: what the programs of OpenNebula require first, so that they find its own Ruby files and gems.
require 'rubygems'

root = ENV.fetch('ONE_LOCATION', nil)
Gem.use_paths(File.realpath(root ? "#{root}/share/gems" : '/usr/share/one/gems'))
$LOAD_PATH << (root ? "#{root}/lib/ruby" : '/usr/lib/one/ruby')
