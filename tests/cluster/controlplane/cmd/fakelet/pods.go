package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

var everything = labels.Everything()

// Behaviours of a container. Chosen by annotation fake/behavior (fake/behavior.CONTAINER
// for one container) on the pod template, else by a word in the image reference.
const (
	bOK           = "ok"
	bComplete     = "completed"
	bCrash        = "crash"        // CrashLoopBackOff, exit 1
	bOOM          = "oom"          // OOMKilled, exit 137, CrashLoopBackOff
	bPull         = "imagepull"    // ErrImagePull / ImagePullBackOff
	bInvalidImage = "invalidimage" // InvalidImageName
	bConfig       = "configerror"  // CreateContainerConfigError
	bCreate       = "createerror"  // CreateContainerError
	bRun          = "runerror"     // RunContainerError
	bStuck        = "creating"     // ContainerCreating for ever
	bNotReady     = "notready"     // running, readiness probe fails
	bLiveness     = "liveness"     // killed by its liveness probe again and again
	bEvicted      = "evicted"      // pod level
)

var alias = map[string]string{
	"running": bOK, "ready": bOK, "ok": bOK, "completed": bComplete, "succeeded": bComplete,
	"crash": bCrash, "crashloop": bCrash, "crashloopbackoff": bCrash, "error": bCrash, "oom": bOOM, "oomkilled": bOOM,
	"imagepull": bPull, "imagepullbackoff": bPull, "errimagepull": bPull, "invalidimage": bInvalidImage, "invalidimagename": bInvalidImage,
	"configerror": bConfig, "createcontainerconfigerror": bConfig, "createerror": bCreate, "createcontainererror": bCreate,
	"runerror": bRun, "runcontainererror": bRun, "creating": bStuck, "containercreating": bStuck, "pending": bStuck,
	"notready": bNotReady, "unready": bNotReady, "liveness": bLiveness, "evicted": bEvicted,
}

func behavior(p *v1.Pod, c *v1.Container) string {
	for _, k := range []string{annPfx + "behavior." + c.Name, annPfx + "behavior"} {
		if b, ok := alias[strings.ToLower(p.Annotations[k])]; ok {
			return b
		}
	}
	if heals := healing(p, c); heals != "" {
		return heals
	}
	img := strings.ToLower(c.Image)
	if c.Image != strings.TrimSpace(img) && strings.ContainsAny(c.Image, " ") {
		return bInvalidImage
	}
	has := func(ws ...string) bool {
		for _, w := range ws {
			if strings.Contains(img, w) {
				return true
			}
		}
		return false
	}
	switch {
	case strings.ContainsAny(c.Image, " ,;") || c.Image != img && strings.ToLower(strings.SplitN(c.Image, ":", 2)[0]) != strings.SplitN(c.Image, ":", 2)[0]:
		return bInvalidImage
	case has("does-not-exist", "doesnotexist", "nonexist", "missing", "broken", "bad-image", ":bad", "no-such", "nosuch", "typo", "invalid"):
		return bPull
	case has("crash"):
		return bCrash
	case has("oom"):
		return bOOM
	case has("notready", "unready"):
		return bNotReady
	}
	return bOK
}

// healing says what is wrong with a container that a change of its own spec would heal: too low a
// memory limit (fake/oom-below: 512Mi), too short a liveness delay (fake/liveness-needs-initial-delay: "45").
func healing(p *v1.Pod, c *v1.Container) string {
	if needed, err := resource.ParseQuantity(p.Annotations[annPfx+"oom-below"]); err == nil {
		if limit, ok := c.Resources.Limits[v1.ResourceMemory]; ok && limit.Cmp(needed) < 0 {
			return bOOM
		}
	}
	if needed, err := strconv.Atoi(p.Annotations[annPfx+"liveness-needs-initial-delay"]); err == nil {
		if c.LivenessProbe != nil && int(c.LivenessProbe.InitialDelaySeconds) < needed {
			return bLiveness
		}
	}
	return ""
}

type cstate struct {
	behav     string
	image     string
	waiting   *v1.ContainerStateWaiting
	running   *v1.ContainerStateRunning
	term      *v1.ContainerStateTerminated
	last      *v1.ContainerStateTerminated
	restarts  int32
	next      time.Time // when something happens; zero = nothing
	step      string
	backoff   time.Duration
	ready     bool
	started   bool
	readyAt   time.Time
	id        string
	probeNext time.Time
	finished  bool // terminated for good
	gen       int
}

type podState struct {
	key, uid string
	ip       string
	start    time.Time
	init     []*cstate
	main     []*cstate
	eph      []*cstate
	evictAt  time.Time
	killAt   time.Time
	killed   bool
	finalSet bool
}

func annDur(p *v1.Pod, k string, def time.Duration) time.Duration {
	if s := p.Annotations[annPfx+k]; s != "" {
		if d, err := time.ParseDuration(s); err == nil {
			return d
		}
		if n, err := strconv.ParseFloat(s, 64); err == nil {
			return time.Duration(n * float64(time.Second))
		}
	}
	return def
}

func cid(p *v1.Pod, name string, n int) string {
	b := fmt.Sprintf("%s/%s/%d", p.UID, name, n)
	return fmt.Sprintf("containerd://%08x%08x%08x%08x%08x%08x%08x%08x", hash32(b+"a"), hash32(b+"b"), hash32(b+"c"), hash32(b+"d"), hash32(b+"e"), hash32(b+"f"), hash32(b+"g"), hash32(b+"h"))
}

func (a *app) event(p *v1.Pod, container, typ, reason, format string, args ...interface{}) {
	ref := &v1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: p.Namespace, Name: p.Name, UID: p.UID, ResourceVersion: p.ResourceVersion}
	if container != "" {
		ref.FieldPath = "spec.containers{" + container + "}"
		for _, c := range p.Spec.InitContainers {
			if c.Name == container {
				ref.FieldPath = "spec.initContainers{" + container + "}"
			}
		}
	}
	a.recorder(p.Spec.NodeName).Eventf(ref, typ, reason, format, args...)
}

// missingRef says which ConfigMap/Secret a container needs and lacks.
func (a *app) missingRef(p *v1.Pod, c *v1.Container) string {
	opt := func(b *bool) bool { return b != nil && *b }
	cm := func(n string) bool { _, err := a.cms.ConfigMaps(p.Namespace).Get(n); return err != nil }
	sec := func(n string) bool { _, err := a.secrets.Secrets(p.Namespace).Get(n); return err != nil }
	for _, e := range c.EnvFrom {
		if e.ConfigMapRef != nil && !opt(e.ConfigMapRef.Optional) && cm(e.ConfigMapRef.Name) {
			return fmt.Sprintf("configmap %q not found", e.ConfigMapRef.Name)
		}
		if e.SecretRef != nil && !opt(e.SecretRef.Optional) && sec(e.SecretRef.Name) {
			return fmt.Sprintf("secret %q not found", e.SecretRef.Name)
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			continue
		}
		if r := e.ValueFrom.ConfigMapKeyRef; r != nil && !opt(r.Optional) {
			m, err := a.cms.ConfigMaps(p.Namespace).Get(r.Name)
			if err != nil {
				return fmt.Sprintf("configmap %q not found", r.Name)
			}
			if _, ok := m.Data[r.Key]; !ok {
				return fmt.Sprintf("couldn't find key %s in ConfigMap %s/%s", r.Key, p.Namespace, r.Name)
			}
		}
		if r := e.ValueFrom.SecretKeyRef; r != nil && !opt(r.Optional) {
			m, err := a.secrets.Secrets(p.Namespace).Get(r.Name)
			if err != nil {
				return fmt.Sprintf("secret %q not found", r.Name)
			}
			if _, ok := m.Data[r.Key]; !ok {
				return fmt.Sprintf("couldn't find key %s in Secret %s/%s", r.Key, p.Namespace, r.Name)
			}
		}
	}
	return ""
}

func (a *app) missingVolume(p *v1.Pod) (vol, msg string) {
	for _, v := range p.Spec.Volumes {
		if v.ConfigMap != nil && (v.ConfigMap.Optional == nil || !*v.ConfigMap.Optional) {
			if _, err := a.cms.ConfigMaps(p.Namespace).Get(v.ConfigMap.Name); err != nil {
				return v.Name, fmt.Sprintf("configmap %q not found", v.ConfigMap.Name)
			}
		}
		if v.Secret != nil && (v.Secret.Optional == nil || !*v.Secret.Optional) {
			if _, err := a.secrets.Secrets(p.Namespace).Get(v.Secret.SecretName); err != nil {
				return v.Name, fmt.Sprintf("secret %q not found", v.Secret.SecretName)
			}
		}
	}
	return "", ""
}

func (a *app) stateFor(p *v1.Pod) *podState {
	a.mu.Lock()
	defer a.mu.Unlock()
	st, ok := a.states[string(p.UID)]
	if ok {
		return st
	}
	a.ipSeq++
	st = &podState{key: p.Namespace + "/" + p.Name, uid: string(p.UID), start: time.Now(), ip: p.Status.PodIP}
	if st.ip == "" {
		if p.Spec.HostNetwork {
			st.ip = "127.0.0.1"
		} else {
			nodeN := hash32(p.Spec.NodeName) % 200
			if _, num, ok := strings.Cut(p.Spec.NodeName, "node-"); ok {
				if n, err := strconv.Atoi(num); err == nil {
					nodeN = uint32(n % 250)
				}
			}
			st.ip = fmt.Sprintf("10.244.%d.%d", nodeN, 2+a.ipSeq%250)
		}
	}
	if p.Status.StartTime != nil {
		st.start = p.Status.StartTime.Time
	}
	mk := func(cs []v1.Container, old []v1.ContainerStatus) (out []*cstate) {
		for i := range cs {
			s := &cstate{behav: behavior(p, &cs[i]), image: cs[i].Image}
			for _, o := range old { // picked up again after a fakelet restart
				if o.Name == cs[i].Name {
					s.restarts, s.last, s.id = o.RestartCount, o.LastTerminationState.Terminated, o.ContainerID
					if o.State.Running != nil {
						s.running, s.ready, s.started, s.step = o.State.Running, o.Ready, true, "running"
						a.planRunning(p, &cs[i], s, s.running.StartedAt.Time)
						s.gen = 1
					} else if o.State.Terminated != nil {
						s.term, s.step = o.State.Terminated, "terminated"
						s.next = time.Now()
					}
				}
			}
			out = append(out, s)
		}
		return
	}
	st.init = mk(p.Spec.InitContainers, p.Status.InitContainerStatuses)
	st.main = mk(p.Spec.Containers, p.Status.ContainerStatuses)
	for i := range p.Spec.InitContainers {
		if st.init[i].step == "terminated" && st.init[i].term.ExitCode == 0 {
			st.init[i].finished, st.init[i].ready = true, true
		}
	}
	if p.Status.Phase == v1.PodSucceeded || p.Status.Phase == v1.PodFailed {
		for _, s := range append(st.init, st.main...) {
			s.finished = true
		}
	}
	a.states[string(p.UID)] = st
	return st
}

func isJobLike(p *v1.Pod) bool { return p.Spec.RestartPolicy != v1.RestartPolicyAlways }

func restartable(c *v1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways
}

// planRunning sets what happens to a container that has just started.
func (a *app) planRunning(p *v1.Pod, c *v1.Container, s *cstate, now time.Time) {
	switch s.behav {
	case bCrash, bOOM:
		s.next = now.Add(annDur(p, "run-seconds", time.Second))
	case bLiveness:
		s.next = now.Add(annDur(p, "run-seconds", 5*time.Second))
	case bComplete:
		s.next = now.Add(annDur(p, "run-seconds", time.Second))
	default:
		s.next = time.Time{}
		if isJobLike(p) && !restartable(c) {
			if p.Annotations[annPfx+"run-seconds"] != "forever" {
				s.next = now.Add(annDur(p, "run-seconds", 2*time.Second))
			}
		}
	}
	d := 200 * time.Millisecond
	if c.ReadinessProbe != nil {
		pd := time.Duration(c.ReadinessProbe.InitialDelaySeconds) * time.Second
		if pd > 3*time.Second {
			pd = 3 * time.Second
		}
		d += pd
	}
	s.readyAt = now.Add(annDur(p, "ready-after", d))
}

// step advances one container; it returns when it next wants to be called (zero: not by itself).
func (a *app) stepContainer(p *v1.Pod, c *v1.Container, s *cstate, isInit bool, now time.Time) time.Time {
	if s.finished {
		return time.Time{}
	}
	if s.image != c.Image { // in-place image change: the kubelet kills and recreates the container
		s.image, s.behav = c.Image, behavior(p, c)
		if s.running != nil {
			a.event(p, c.Name, v1.EventTypeNormal, "Killing", "Container %s definition changed, will be restarted", c.Name)
			s.last = &v1.ContainerStateTerminated{ExitCode: 0, Reason: "Completed", StartedAt: s.running.StartedAt, FinishedAt: metav1.NewTime(now), ContainerID: s.id}
			s.restarts++
		}
		s.running, s.term, s.ready, s.step, s.backoff = nil, nil, false, "", 0
	}
	wait := func(reason, msg string) {
		s.waiting, s.running, s.term, s.ready, s.started = &v1.ContainerStateWaiting{Reason: reason, Message: msg}, nil, nil, false, false
	}
	start := func() time.Time {
		s.gen++
		s.id = cid(p, c.Name, s.gen+int(s.restarts)*1000)
		s.waiting, s.term = nil, nil
		s.running, s.started, s.step = &v1.ContainerStateRunning{StartedAt: metav1.NewTime(now)}, true, "running"
		s.ready = false
		a.event(p, c.Name, v1.EventTypeNormal, "Created", "Container created")
		a.event(p, c.Name, v1.EventTypeNormal, "Started", "Container started")
		a.planRunning(p, c, s, now)
		if isInit && !restartable(c) {
			if s.next.IsZero() || s.behav == bOK {
				s.next = now.Add(annDur(p, "init-seconds", 300*time.Millisecond))
			}
			return s.next
		}
		return minT(s.next, s.readyAt)
	}
	switch s.step {
	case "": // ContainerCreating / PodInitializing
		wait("ContainerCreating", "")
		s.step, s.next = "pull", now.Add(annDur(p, "start-delay", *startDelay))
		return s.next
	case "pull":
		if now.Before(s.next) {
			return s.next
		}
		switch s.behav {
		case bStuck:
			a.event(p, "", v1.EventTypeWarning, "FailedCreatePodSandBox", "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox: plugin type=\"fake\" failed (add): no IP addresses available in range")
			s.next = now.Add(15 * time.Second)
			return s.next
		case bInvalidImage:
			wait("InvalidImageName", fmt.Sprintf("Failed to apply default image tag %q: couldn't parse image name %q: invalid reference format", c.Image, c.Image))
			a.event(p, c.Name, v1.EventTypeWarning, "InspectFailed", "Failed to apply default image tag %q: couldn't parse image name %q: invalid reference format", c.Image, c.Image)
			a.event(p, c.Name, v1.EventTypeWarning, "Failed", "Error: InvalidImageName")
			s.next = now.Add(30 * time.Second)
			return s.next
		case bPull:
			msg := fmt.Sprintf("failed to pull and unpack image %q: failed to resolve reference %q: %s: not found", c.Image, c.Image, c.Image)
			if s.waiting == nil || s.waiting.Reason != "ErrImagePull" {
				a.event(p, c.Name, v1.EventTypeNormal, "Pulling", "Pulling image %q", c.Image)
				a.event(p, c.Name, v1.EventTypeWarning, "Failed", "Failed to pull image %q: rpc error: code = NotFound desc = %s", c.Image, msg)
				a.event(p, c.Name, v1.EventTypeWarning, "Failed", "Error: ErrImagePull")
				wait("ErrImagePull", "rpc error: code = NotFound desc = "+msg)
				s.next = now.Add(time.Second)
			} else {
				if s.backoff == 0 {
					s.backoff = *backoffBase
				} else if s.backoff *= 2; s.backoff > 5*time.Minute {
					s.backoff = 5 * time.Minute
				}
				a.event(p, c.Name, v1.EventTypeNormal, "BackOff", "Back-off pulling image %q", c.Image)
				a.event(p, c.Name, v1.EventTypeWarning, "Failed", "Error: ImagePullBackOff")
				wait("ImagePullBackOff", fmt.Sprintf("Back-off pulling image %q: ErrImagePull: rpc error: code = NotFound desc = %s", c.Image, msg))
				s.next = now.Add(s.backoff)
			}
			return s.next
		}
		a.event(p, c.Name, v1.EventTypeNormal, "Pulled", "Container image %q already present on machine and can be accessed by the pod", c.Image)
		s.step = "create"
		fallthrough
	case "create":
		if now.Before(s.next) {
			return s.next
		}
		miss := a.missingRef(p, c)
		if s.behav == bConfig && miss == "" {
			miss = `configmap "app-config" not found`
		}
		switch {
		case miss != "":
			wait("CreateContainerConfigError", miss)
			a.event(p, c.Name, v1.EventTypeWarning, "Failed", "Error: %s", miss)
			s.next = now.Add(3 * time.Second)
			return s.next
		case s.behav == bCreate:
			m := `failed to create containerd container: failed to reserve container name: name is reserved`
			wait("CreateContainerError", m)
			a.event(p, c.Name, v1.EventTypeWarning, "Failed", "Error: %s", m)
			s.next = now.Add(10 * time.Second)
			return s.next
		case s.behav == bRun:
			m := `failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "/app/missing": stat /app/missing: no such file or directory`
			a.event(p, c.Name, v1.EventTypeWarning, "Failed", "Error: %s", m)
			s.gen++
			s.id = cid(p, c.Name, s.gen)
			if s.restarts > 0 || s.last != nil {
				s.restarts++
			}
			s.last = &v1.ContainerStateTerminated{ExitCode: 128, Reason: "StartError", Message: m, StartedAt: metav1.NewTime(time.Unix(0, 0)), FinishedAt: metav1.NewTime(now), ContainerID: s.id}
			wait("RunContainerError", m)
			s.step, s.next = "startfailed", now.Add(2*time.Second)
			return s.next
		}
		return start()
	case "startfailed":
		if now.Before(s.next) {
			return s.next
		}
		d := a.bump(s)
		wait("CrashLoopBackOff", fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)", d, c.Name, p.Name, p.Namespace, p.UID))
		a.event(p, c.Name, v1.EventTypeWarning, "BackOff", "Back-off restarting failed container %s in pod %s_%s(%s)", c.Name, p.Name, p.Namespace, p.UID)
		s.step, s.next = "create", now.Add(d)
		return s.next
	case "running":
		// probes
		if s.behav == bNotReady {
			if now.After(s.readyAt) && now.After(s.probeNext) {
				a.event(p, c.Name, v1.EventTypeWarning, "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")
				s.probeNext = now.Add(10 * time.Second)
			}
			return minT(s.next, now.Add(10*time.Second))
		}
		if !s.ready && !now.Before(s.readyAt) {
			s.ready = true
		}
		if s.next.IsZero() || now.Before(s.next) {
			if !s.ready {
				return minT(s.next, s.readyAt)
			}
			return s.next
		}
		// it ends
		t := &v1.ContainerStateTerminated{ExitCode: 0, Reason: "Completed", StartedAt: s.running.StartedAt, FinishedAt: metav1.NewTime(now), ContainerID: s.id}
		switch s.behav {
		case bCrash:
			t.ExitCode, t.Reason = 1, "Error"
			if x, err := strconv.Atoi(p.Annotations[annPfx+"exit-code"]); err == nil {
				t.ExitCode = int32(x)
			}
			t.Message = p.Annotations[annPfx+"termination-message"]
		case bOOM:
			t.ExitCode, t.Reason = 137, "OOMKilled"
		case bLiveness:
			t.ExitCode, t.Reason = 137, "Error"
			a.event(p, c.Name, v1.EventTypeWarning, "Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 500")
			a.event(p, c.Name, v1.EventTypeNormal, "Killing", "Container %s failed liveness probe, will be restarted", c.Name)
		}
		s.running, s.waiting, s.term, s.ready, s.started = nil, nil, t, false, false
		s.step = "terminated"
		s.next = now.Add(300 * time.Millisecond)
		again := p.Spec.RestartPolicy == v1.RestartPolicyAlways || p.Spec.RestartPolicy == v1.RestartPolicyOnFailure && t.ExitCode != 0
		if isInit {
			again = t.ExitCode != 0 && p.Spec.RestartPolicy != v1.RestartPolicyNever
			if t.ExitCode == 0 {
				s.ready = true
			}
		}
		if restartable(c) {
			again = true
		}
		if !again {
			s.finished = true
			return time.Time{}
		}
		return s.next
	case "terminated":
		if now.Before(s.next) {
			return s.next
		}
		s.last = s.term
		if s.behav == bLiveness && s.restarts < 3 {
			s.restarts++
			s.term = nil
			return start()
		}
		if s.restarts == 0 && s.backoff == 0 { // the first restart comes at once, like the kubelet's
			s.restarts++
			s.term = nil
			s.backoff = 1
			return start()
		}
		d := a.bump(s)
		wait("CrashLoopBackOff", fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)", d, c.Name, p.Name, p.Namespace, p.UID))
		a.event(p, c.Name, v1.EventTypeWarning, "BackOff", "Back-off restarting failed container %s in pod %s_%s(%s)", c.Name, p.Name, p.Namespace, p.UID)
		s.step, s.next = "backoff", now.Add(d)
		return s.next
	case "backoff":
		if now.Before(s.next) {
			return s.next
		}
		s.restarts++
		a.event(p, c.Name, v1.EventTypeNormal, "Pulled", "Container image %q already present on machine and can be accessed by the pod", c.Image)
		return start()
	}
	return time.Time{}
}

func (a *app) bump(s *cstate) time.Duration {
	if s.backoff < *backoffBase {
		s.backoff = *backoffBase
	} else if s.backoff *= 2; s.backoff > 5*time.Minute {
		s.backoff = 5 * time.Minute
	}
	return s.backoff
}

func minT(x, y time.Time) time.Time {
	if x.IsZero() {
		return y
	}
	if y.IsZero() || x.Before(y) {
		return x
	}
	return y
}

func (a *app) status(p *v1.Pod, c *v1.Container, s *cstate, old []v1.ContainerStatus) v1.ContainerStatus {
	started := s.started
	r := v1.ContainerStatus{Name: c.Name, Image: c.Image, RestartCount: s.restarts, Ready: s.ready, Started: &started, ContainerID: s.id}
	if !strings.Contains(r.Image, "/") {
		r.Image = "docker.io/library/" + r.Image
	}
	if s.id != "" {
		r.ImageID = fmt.Sprintf("%s@sha256:%08x%08x%08x%08x%08x%08x%08x%08x", strings.SplitN(r.Image, ":", 2)[0], hash32(c.Image+"1"), hash32(c.Image+"2"), hash32(c.Image+"3"), hash32(c.Image+"4"), hash32(c.Image+"5"), hash32(c.Image+"6"), hash32(c.Image+"7"), hash32(c.Image+"8"))
	} else {
		r.Image = c.Image
	}
	r.State = v1.ContainerState{Waiting: s.waiting, Running: s.running, Terminated: s.term}
	if s.waiting == nil && s.running == nil && s.term == nil {
		r.State.Waiting = &v1.ContainerStateWaiting{Reason: "PodInitializing"}
	}
	if s.last != nil {
		r.LastTerminationState = v1.ContainerState{Terminated: s.last}
	}
	if s.running != nil {
		res := c.Resources.DeepCopy()
		res.Claims = nil
		r.Resources = res
		r.AllocatedResources = c.Resources.Requests.DeepCopy()
	}
	return r
}

func (a *app) syncPod(ctx context.Context, p *v1.Pod) (time.Duration, error) {
	now := time.Now()
	st := a.stateFor(p)
	if p.DeletionTimestamp != nil {
		return a.terminate(ctx, p, st, now)
	}
	if p.Status.Phase == v1.PodSucceeded || p.Status.Phase == v1.PodFailed {
		return 0, nil
	}
	var next time.Time
	// pod level
	evict := false
	for i := range p.Spec.Containers {
		if st.main[i].behav == bEvicted {
			evict = true
		}
	}
	n := p.Status.DeepCopy()
	n.HostIP, n.HostIPs = "127.0.0.1", []v1.HostIP{{IP: "127.0.0.1"}}
	n.ObservedGeneration = p.Generation
	if n.StartTime == nil {
		t := metav1.NewTime(now)
		n.StartTime, st.start = &t, now
	}
	if evict && st.evictAt.IsZero() {
		st.evictAt = now.Add(annDur(p, "run-seconds", 3*time.Second))
	}
	if evict && !now.Before(st.evictAt) {
		msg := "The node was low on resource: memory. Threshold quantity: 100Mi, available: 12Mi. Container " + p.Spec.Containers[0].Name + " was using 900Mi, request is 0, has larger consumption of memory. "
		a.event(p, "", v1.EventTypeWarning, "Evicted", "%s", msg)
		n.Phase, n.Reason, n.Message = v1.PodFailed, "Evicted", msg
		n.ContainerStatuses = nil
		for _, s := range st.main { // no container statuses, so that clients show "Evicted"
			s.running, s.waiting, s.ready, s.started, s.finished = nil, nil, false, false, true
		}
		setConds(p, n, map[v1.PodConditionType]bool{v1.PodReadyToStartContainers: true, v1.PodInitialized: true, v1.PodReady: false, v1.ContainersReady: false}, "PodFailed", "", now)
		return 0, a.put(ctx, p, n)
	}
	if evict {
		next = st.evictAt
	}

	sandbox := true
	if vol, miss := a.missingVolume(p); miss != "" && st.main[0].step == "" {
		a.event(p, "", v1.EventTypeWarning, "FailedMount", "MountVolume.SetUp failed for volume %q : %s", vol, miss)
		sandbox = false
		next = now.Add(5 * time.Second)
		for _, s := range append(append([]*cstate{}, st.init...), st.main...) {
			s.waiting = &v1.ContainerStateWaiting{Reason: "ContainerCreating"}
			if len(st.init) > 0 {
				s.waiting = &v1.ContainerStateWaiting{Reason: "PodInitializing"}
			}
		}
	}
	initDone := true
	if sandbox {
		for i := range p.Spec.InitContainers {
			c, s := &p.Spec.InitContainers[i], st.init[i]
			if !initDone {
				s.waiting = &v1.ContainerStateWaiting{Reason: "PodInitializing"}
				continue
			}
			next = minT(next, a.stepContainer(p, c, s, true, now))
			if restartable(c) {
				if !s.started {
					initDone = false
				}
			} else if !(s.finished && s.term != nil && s.term.ExitCode == 0) {
				initDone = false
			}
			if s.finished && s.term != nil && s.term.ExitCode == 0 && i+1 < len(p.Spec.InitContainers) {
				next = minT(next, now.Add(10*time.Millisecond))
			}
		}
		if initDone {
			for i := range p.Spec.Containers {
				next = minT(next, a.stepContainer(p, &p.Spec.Containers[i], st.main[i], false, now))
			}
		} else {
			for _, s := range st.main {
				s.waiting = &v1.ContainerStateWaiting{Reason: "PodInitializing"}
			}
		}
	} else {
		initDone = len(p.Spec.InitContainers) == 0
	}
	n.InitContainerStatuses, n.ContainerStatuses = nil, nil
	for i := range p.Spec.InitContainers {
		n.InitContainerStatuses = append(n.InitContainerStatuses, a.status(p, &p.Spec.InitContainers[i], st.init[i], nil))
	}
	allReady, anyRun, allDone, anyFail := true, false, true, false
	var notReady []string
	for i := range p.Spec.Containers {
		s := st.main[i]
		n.ContainerStatuses = append(n.ContainerStatuses, a.status(p, &p.Spec.Containers[i], s, nil))
		if !s.ready {
			allReady = false
			notReady = append(notReady, p.Spec.Containers[i].Name)
		}
		if s.running != nil || s.restarts > 0 || s.term != nil {
			anyRun = true
		}
		if !s.finished {
			allDone = false
		} else if s.term != nil && s.term.ExitCode != 0 {
			anyFail = true
		}
	}
	initFail := false
	for i, s := range st.init {
		if s.finished && s.term != nil && s.term.ExitCode != 0 {
			initFail = true
		}
		_ = i
	}
	n.EphemeralContainerStatuses = nil
	for i, e := range p.Spec.EphemeralContainers {
		for len(st.eph) <= i {
			st.eph = append(st.eph, &cstate{id: cid(p, e.Name, 1), running: &v1.ContainerStateRunning{StartedAt: metav1.NewTime(now)}})
			a.event(p, "", v1.EventTypeNormal, "Started", "Container started")
		}
		n.EphemeralContainerStatuses = append(n.EphemeralContainerStatuses, v1.ContainerStatus{Name: e.Name, Image: e.Image, ContainerID: st.eph[i].id, State: v1.ContainerState{Running: st.eph[i].running}})
	}
	if sandbox {
		n.PodIP = st.ip
		n.PodIPs = []v1.PodIP{{IP: st.ip}}
	}
	reason := ""
	switch {
	case initFail:
		n.Phase, reason = v1.PodFailed, "PodFailed"
	case allDone && anyFail:
		n.Phase, reason = v1.PodFailed, "PodFailed"
	case allDone:
		n.Phase, reason = v1.PodSucceeded, "PodCompleted"
	case anyRun && initDone:
		n.Phase = v1.PodRunning
	default:
		n.Phase = v1.PodPending
	}
	podReady := allReady
	for _, g := range p.Spec.ReadinessGates {
		ok := false
		for _, c := range p.Status.Conditions {
			if c.Type == g.ConditionType && c.Status == v1.ConditionTrue {
				ok = true
			}
		}
		podReady = podReady && ok
	}
	msg := ""
	if len(notReady) > 0 && reason == "" {
		reason = "ContainersNotReady"
		msg = "containers with unready status: [" + strings.Join(notReady, " ") + "]"
	}
	setConds(p, n, map[v1.PodConditionType]bool{v1.PodReadyToStartContainers: sandbox, v1.PodInitialized: initDone, v1.PodReady: podReady, v1.ContainersReady: allReady}, reason, msg, now)
	if n.Phase == v1.PodSucceeded || n.Phase == v1.PodFailed {
		next = time.Time{}
	}
	if err := a.put(ctx, p, n); err != nil {
		return 0, err
	}
	if next.IsZero() {
		return 0, nil
	}
	if d := time.Until(next); d > time.Millisecond {
		return d, nil
	}
	return time.Millisecond, nil
}

func setConds(p *v1.Pod, n *v1.PodStatus, want map[v1.PodConditionType]bool, reason, msg string, now time.Time) {
	for _, t := range []v1.PodConditionType{v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady, v1.ContainersReady} {
		s, r, m := v1.ConditionTrue, "", ""
		if !want[t] {
			s = v1.ConditionFalse
			if t == v1.PodReady || t == v1.ContainersReady {
				r, m = reason, msg
			}
			if t == v1.PodInitialized {
				r, m = "ContainersNotInitialized", "containers with incomplete status"
			}
		}
		found := false
		for i := range n.Conditions {
			if c := &n.Conditions[i]; c.Type == t {
				if c.Status != s {
					c.LastTransitionTime = metav1.NewTime(now)
				}
				c.Status, c.Reason, c.Message, c.ObservedGeneration = s, r, m, p.Generation
				found = true
			}
		}
		if !found {
			n.Conditions = append(n.Conditions, v1.PodCondition{Type: t, Status: s, Reason: r, Message: m, LastTransitionTime: metav1.NewTime(now), ObservedGeneration: p.Generation})
		}
	}
}

func (a *app) put(ctx context.Context, p *v1.Pod, n *v1.PodStatus) error {
	if apiequality.Semantic.DeepEqual(&p.Status, n) {
		return nil
	}
	c := p.DeepCopy()
	c.Status = *n
	_, err := a.cs.CoreV1().Pods(p.Namespace).UpdateStatus(ctx, c, metav1.UpdateOptions{})
	return err
}

func (a *app) terminate(ctx context.Context, p *v1.Pod, st *podState, now time.Time) (time.Duration, error) {
	if p.Annotations[annPfx+"stuck-terminating"] == "true" {
		return 0, nil
	}
	done := p.Status.Phase == v1.PodSucceeded || p.Status.Phase == v1.PodFailed
	if st.killAt.IsZero() {
		d := annDur(p, "termination-seconds", 400*time.Millisecond)
		if g := p.DeletionGracePeriodSeconds; g != nil && d > time.Duration(*g)*time.Second {
			d = time.Duration(*g) * time.Second
		}
		st.killAt = now.Add(d)
		if !done {
			for i := range p.Spec.Containers {
				if st.main[i].running != nil {
					a.event(p, p.Spec.Containers[i].Name, v1.EventTypeNormal, "Killing", "Stopping container %s", p.Spec.Containers[i].Name)
				}
			}
		}
	}
	if d := st.killAt.Sub(now); d > 0 {
		return d, nil
	}
	if !done && !st.finalSet {
		n := p.Status.DeepCopy()
		code, reason := int32(0), "Completed"
		if p.Annotations[annPfx+"termination-exit"] != "" {
			x, _ := strconv.Atoi(p.Annotations[annPfx+"termination-exit"])
			code, reason = int32(x), "Error"
		}
		n.ContainerStatuses = nil
		ran := false
		for i := range p.Spec.Containers {
			s := st.main[i]
			if s.running != nil {
				ran = true
				s.term = &v1.ContainerStateTerminated{ExitCode: code, Reason: reason, StartedAt: s.running.StartedAt, FinishedAt: metav1.NewTime(now), ContainerID: s.id}
				s.running, s.waiting = nil, nil
			}
			s.ready, s.started, s.finished = false, false, true
			n.ContainerStatuses = append(n.ContainerStatuses, a.status(p, &p.Spec.Containers[i], s, nil))
		}
		n.Phase = v1.PodSucceeded
		if code != 0 || !ran {
			n.Phase = v1.PodFailed
		}
		setConds(p, n, map[v1.PodConditionType]bool{v1.PodReadyToStartContainers: false, v1.PodInitialized: true, v1.PodReady: false, v1.ContainersReady: false}, "PodCompleted", "", now)
		st.finalSet = true
		if err := a.put(ctx, p, n); err != nil && !apierrors.IsNotFound(err) {
			st.finalSet = false
			return 0, err
		}
	}
	zero := int64(0)
	uid := p.UID
	err := a.cs.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &uid}})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		err = nil
	}
	return 0, err
}
