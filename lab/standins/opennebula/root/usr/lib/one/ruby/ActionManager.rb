# Rehearsal stand-in: a library of oned's drivers that OneFlow and HEM load at their start. It is in the package of oned,
# which OneFlow's package does not need (OpenNebula/one#5391).

module Standin

    ACTION_MANAGER = true

end
