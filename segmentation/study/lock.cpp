// SPDX-License-Identifier: Apache-2.0
#include "segmentation/study/lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstring>

namespace metvox {

StudyLock::StudyLock(const Path& study) {
  make_folder(study / "jobs");
  descriptor_ = open((study / "jobs").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor_ >= 0 && flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
  const int error = errno;
  if (descriptor_ >= 0) close(descriptor_);
  fail(Fault::usage, study.string(),
       error == EWOULDBLOCK ? ": another metvox study runs in it" : sentence(": ", std::strerror(error)));
}

StudyLock::~StudyLock() { close(descriptor_); }

}  // namespace metvox
