# Our kernels for NVIDIA GPUs: the files of kernels/cuda once more, compiled by nvcc. The program links cudart statically
# and nothing else of CUDA, so that it starts where there is no driver.
#   METVOX_CUDA        AUTO (where nvcc is found), ON, OFF
#   METVOX_CUDA_ARCHS  architectures as CMake names them, or `all`
set(METVOX_CUDA AUTO CACHE STRING "Compile the kernels with nvcc: AUTO, ON or OFF")
set(METVOX_CUDA_ARCHS "80-real;90a-real" CACHE STRING "CUDA architectures, or all")
set_property(CACHE METVOX_CUDA PROPERTY STRINGS AUTO ON OFF)

find_program(METVOX_NVCC nvcc HINTS ENV CUDACXX ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
mark_as_advanced(METVOX_NVCC)
set(METVOX_KGPU OFF)
if(METVOX_CUDA STREQUAL "ON" OR (METVOX_CUDA STREQUAL "AUTO" AND METVOX_NVCC))
  if(NOT METVOX_NVCC)
    message(FATAL_ERROR "METVOX_CUDA=ON, but there is no nvcc; name it with -DMETVOX_NVCC=/path/to/nvcc")
  endif()
  set(METVOX_KGPU ON)
  set(archs ${METVOX_CUDA_ARCHS})
  if(archs STREQUAL "all")
    set(archs 75-real 80-real 86-real 89-real 90-real 90a-real 100-real 120)
  endif()
  set(CMAKE_CUDA_COMPILER ${METVOX_NVCC})
  set(CMAKE_CUDA_ARCHITECTURES ${archs})
  enable_language(CUDA)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)  # which CMake 3.25 does not know of nvcc
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_EXTENSIONS OFF)
  find_package(CUDAToolkit 12.8 REQUIRED)
endif()

function(metvox_kgpu_objects target)
  add_library(${target} OBJECT ${ARGN})
  target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR})
  # relaxed-constexpr: constexpr functions of the standard library, such as std::bit_cast, in kernels. 177, 186, 20012:
  # unused functions of a header, comparisons that a template parameter decides, __device__ on defaulted functions.
  target_compile_options(${target} PRIVATE --expt-relaxed-constexpr -lineinfo -Xptxas=-v -Xcompiler=-fopenmp,-Wall,-Wno-unknown-pragmas
                         --diag-suppress=177,186,20012)
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON
                        CUDA_RUNTIME_LIBRARY Static
                        CUDA_COMPILER_LAUNCHER "sh;${CMAKE_SOURCE_DIR}/cmake/report_spills.sh;${METVOX_WERROR};${CMAKE_CXX_COMPILER_LAUNCHER}")
endfunction()

# Sets METVOX_KGPU_OBJECTS and METVOX_KGPU_LINKS, and tells the kernels room (METVOX_CUDA); nothing of it without CUDA.
function(metvox_kgpu)
  if(NOT METVOX_KGPU)
    return()
  endif()
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/cuda/*.cu)
  set(hopper_files ${files})
  list(FILTER files EXCLUDE REGEX "_sm90a\\.cu$")
  list(FILTER hopper_files INCLUDE REGEX "_sm90a\\.cu$")
  # Sums of windows are the same bits wherever they are kept, on the GPU or on the host.
  set_source_files_properties(${CMAKE_SOURCE_DIR}/kernels/cuda/window.cu PROPERTIES COMPILE_OPTIONS -fmad=false)
  metvox_kgpu_objects(metvox_kgpu ${files})
  set(objects $<TARGET_OBJECTS:metvox_kgpu>)
  if(hopper_files)
    metvox_kgpu_objects(metvox_kgpu_sm90a ${hopper_files})
    set_target_properties(metvox_kgpu_sm90a PROPERTIES CUDA_ARCHITECTURES 90a-real)
    list(APPEND objects $<TARGET_OBJECTS:metvox_kgpu_sm90a>)
  endif()
  target_compile_definitions(metvox_kernels PRIVATE METVOX_CUDA=1)
  set(METVOX_KGPU_OBJECTS ${objects} PARENT_SCOPE)
  set(METVOX_KGPU_LINKS CUDA::cudart_static PARENT_SCOPE)
endfunction()
