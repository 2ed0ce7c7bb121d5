# ISA-L 2.x as the target ISAL::isal; the package brings no configuration for CMake.
find_path(isal_INCLUDE_DIR isa-l/igzip_lib.h)
find_library(isal_LIBRARY isal)
if(isal_INCLUDE_DIR)
  file(STRINGS ${isal_INCLUDE_DIR}/isa-l.h lines REGEX "define ISAL_(MAJOR|MINOR|PATCH)_VERSION ")
  list(TRANSFORM lines REPLACE "[^0-9]+" "")
  list(JOIN lines . isal_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(isal REQUIRED_VARS isal_LIBRARY isal_INCLUDE_DIR VERSION_VAR isal_VERSION
                                  HANDLE_VERSION_RANGE)
if(isal_FOUND AND NOT TARGET ISAL::isal)
  add_library(ISAL::isal UNKNOWN IMPORTED)
  set_target_properties(ISAL::isal PROPERTIES IMPORTED_LOCATION ${isal_LIBRARY}
                                              INTERFACE_INCLUDE_DIRECTORIES ${isal_INCLUDE_DIR})
endif()
