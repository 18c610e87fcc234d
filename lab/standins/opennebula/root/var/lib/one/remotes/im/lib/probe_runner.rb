# Runs the executable files of one probe directory, in order, and joins what they print.

require 'open3'

# One of a driver's probe directories.
class ProbeRunner
  PAUSES_AFTER_FAILURE = [1, 1, 1, 2, 4, 8, 8, 16, 32, 64].freeze # seconds

  def initialize(driver, directory, arguments, configuration)
    @path = File.expand_path(File.join(__dir__, '..', "#{driver}-probes.d", directory))
    @arguments = arguments
    @configuration = configuration
  end

  # Raises RuntimeError with the first failing probe and what it said.
  def run
    probes.map do |probe|
      output, errors, status = Open3.capture3(probe, *@arguments, stdin_data: @configuration)
      raise "Error executing #{File.basename(probe)}: #{errors}" unless status.success?

      output
    end.join
  end

  # Calls the block with success and output, every `period` seconds; sooner again after it could not deliver.
  def every(period)
    failures = 0
    loop do
      started = Time.now
      begin
        deliver { |ok, data| yield ok, data }
        failures = 0
        pause = period - (Time.now - started)
      rescue StandardError
        pause = PAUSES_AFTER_FAILURE[[failures, PAUSES_AFTER_FAILURE.length - 1].min]
        failures += 1
      end
      sleep(pause) if pause.positive?
    end
  end

  private

  def deliver
    ok, data = begin
      [true, run]
    rescue RuntimeError, SystemCallError => e
      [false, e.message]
    end
    yield ok, data.strip unless data.strip.empty?
  end

  def probes
    Dir.children(@path).sort.map { |name| File.join(@path, name) }.select do |path|
      File.file?(path) && File.executable?(path)
    end
  end
end
