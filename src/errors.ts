/** What the process exits with; the same table stands in docs/errors.md. */
export const exit = {
  done: 0,
  bug: 1,
  usage: 2,
  fleetFile: 3,
  notReady: 4,
  refused: 5,
  notSettled: 6,
  checksFailed: 7,
  someFailed: 8,
  cancelled: 130,
} as const

type Entry = {
  readonly exit: number
  /** One sentence: what happened, in general. */
  readonly title: string
  /** Why it happens and what was left behind; printed by `lkeobs explain`. */
  readonly why: string
  /** What a person does about it; printed by `lkeobs explain`. */
  readonly fix: string
}

/**
 * Every error a person can cause. The thousands say where it belongs: 1 fleet file and command line,
 * 2 telemetry, 3 platforms and processes, 4 programs, 5 Vault and certificates, 6 invites and joining, 7 destinations,
 * 8 several edges at once, 9 load tests.
 */
export const catalogue = {
  'LKO-1001': {
    exit: exit.fleetFile,
    title: 'There is no fleet file.',
    why: 'Every command but `lab up` and `tools` works on a fleet that is described in a file, `lkeobs.yaml` in the current folder unless --fleet names another.',
    fix: 'Change to the folder of the fleet, name the file with --fleet, or make a fleet on this machine with `lkeobs lab up`.',
  },
  'LKO-1002': {
    exit: exit.fleetFile,
    title: 'The fleet file is wrong.',
    why: 'The file does not follow the schema. Each line above names the place, the key and what is expected there. Nothing was changed.',
    fix: 'Mend the named lines. `lkeobs schema` prints the JSON Schema that editors use to complete and check the file.',
  },
  'LKO-1003': {
    exit: exit.usage,
    title: 'The fleet has no such edge.',
    why: 'The name is not among the edges of the fleet file.',
    fix: 'Use one of the names the message lists, or add the edge to the fleet file.',
  },
  'LKO-1005': {
    exit: exit.cancelled,
    title: 'Cancelled.',
    why: 'A confirmation was declined, or the command was interrupted. What was done until then stays as it is.',
    fix: 'Run the same command again: it goes on from there.',
  },
  'LKO-1006': {
    exit: exit.usage,
    title: 'There is no such error code.',
    why: 'The code is not in the catalogue of this version.',
    fix: '`lkeobs explain` without a code lists all of them.',
  },
  'LKO-1007': {
    exit: exit.usage,
    title: 'This fleet is no lab.',
    why: 'A lab is a fleet whose clusters are processes on this machine. The fleet file names clusters elsewhere, which the lab commands neither start nor stop.',
    fix: 'Use `lkeobs hub init`, `lkeobs edge join` and `lkeobs status` for this fleet, or another folder for a lab (--dir).',
  },
  'LKO-2001': {
    exit: exit.checksFailed,
    title: 'A canary was not read back.',
    why: "A canary is a span, a log record and a data point sent into an edge agent. It counts as arrived only when the hub's store returns it. The table names the last hop that counted it and what that hop says.",
    fix: 'Look at the hop the table names: `lkeobs status` shows its queue and certificate; in a lab `lkeobs lab status` shows its process and log file, on Kubernetes `lkeobs hub status` its pods.',
  },
  'LKO-2002': {
    exit: exit.notSettled,
    title: 'The queue of the edge does not drain.',
    why: 'An edge leaves when its hub has all that its agent has accepted. The agent takes nothing in any more and tries to send, and for minutes the hub has taken nothing. What is queued stays on disk; nothing was removed.',
    fix: 'Bring the hub or the way to it up, and run `lkeobs edge leave NAME` again. `lkeobs edge join NAME` lets the agent take telemetry in again. `--abandon-queue` gives up what is queued.',
  },
  'LKO-2004': {
    exit: exit.notReady,
    title: 'Telemetry does not flow.',
    why: 'What is to be proved to lose nothing begins when an item of each signal has come through every edge into the stores of the hub. The message names those that did not come. Nothing was changed.',
    fix: '`lkeobs verify --all` names the hop that they do not pass. Mend that, then run the command again.',
  },
  'LKO-2003': {
    exit: exit.checksFailed,
    title: 'What arrived cannot be counted.',
    why: 'The work is done, but a store of the hub does not answer or refuses the query, so nobody knows what is in it. That is neither a loss nor proof that there was none.',
    fix: 'Look at the store the message names (`lkeobs lab status` in a lab, on Kubernetes `lkeobs hub status`), then run the command again with proof.',
  },
  'LKO-2010': {
    exit: exit.notReady,
    title: 'The collectors keep no dead letters.',
    why: 'Dead letters are kept by the collector that lkeobs builds. The collectors that were asked answer, and run the stock build (upstream): it has a queue of another kind, in which an item that a store refuses for good is dropped with its whole batch and nothing of it is kept.',
    fix: 'Set `collector: {build: lkeobs}` in the fleet file and run `lkeobs lab up`, or `lkeobs hub upgrade` and `lkeobs edge upgrade`. `lkeobs doctor` lists what the stock build does not promise.',
  },
  'LKO-2011': {
    exit: exit.usage,
    title: 'There is no such dead letter.',
    why: 'No collector that answers has a dead letter with this id. It was replayed or dropped, it made room for newer ones, or the id is another.',
    fix: '`lkeobs dead-letters list` shows those there are, with their ids.',
  },
  'LKO-2012': {
    exit: exit.notSettled,
    title: 'Replayed items still wait.',
    why: 'The items are in the queue of their sink again, on disk, and were neither stored nor refused within the time. Nothing is lost: they are delivered when the sink takes them.',
    fix: '`lkeobs status` says why the queue does not move. A longer --timeout waits longer; running the command again replays nothing twice.',
  },
  'LKO-2013': {
    exit: exit.refused,
    title: "A collector's queue administration does not answer.",
    why: 'Each collector answers questions about its queues on a port of its loopback, to whoever shows the token in its folder. It did not answer, refused, or answered in a shape that this version of lkeobs does not know.',
    fix: 'See that the collector runs and is of this version: `lkeobs status`, in a lab `lkeobs lab up`, on Kubernetes `lkeobs hub upgrade` and `lkeobs edge upgrade`.',
  },
  'LKO-2014': {
    exit: exit.usage,
    title: 'Which dead letters is not said.',
    why: 'Dead letters are replayed and dropped by id, by what they have in common (edge, signal, sink, reason), or all of them. Nothing was named, or an id is that of several, in the queues of different collectors.',
    fix: 'Name ids or filters, or say --all. An id of several is named with its place, as `lkeobs dead-letters list` shows it: CLUSTER/PROCESS/ID.',
  },
  'LKO-3001': {
    exit: exit.notReady,
    title: 'A port is taken.',
    why: 'Another process listens on a port that the fleet file gives to one of our processes.',
    fix: 'Stop that process, or give the cluster other ports in the fleet file (platform.local.ports).',
  },
  'LKO-3002': {
    exit: exit.notReady,
    title: 'Another run is at work here.',
    why: 'Two runs that change the same fleet at once would undo each other, so the second one waits for nobody and stops.',
    fix: 'Wait for the other run, or stop it; then run the command again. A lock left by a run that died is taken over by itself.',
  },
  'LKO-3003': {
    exit: exit.refused,
    title: 'A process stopped by itself.',
    why: 'The program started and exited before it was ready. Its last log lines are above.',
    fix: 'Mend what the log names and run the command again: it goes on from there.',
  },
  'LKO-3004': {
    exit: exit.notReady,
    title: 'A file or folder cannot be written.',
    why: 'The operating system refused the write: no space, no permission, or a read-only file system. Files are replaced whole, so none is half-written.',
    fix: 'Make room or give permission, then run the command again: it goes on from there.',
  },
  'LKO-3005': {
    exit: exit.notSettled,
    title: 'A step was done but has not settled.',
    why: 'The change was applied, and the world did not become as wished within the time the step allows. What was last seen stands above.',
    fix: 'Run the same command again: it resumes, and waits once more.',
  },
  'LKO-3006': {
    exit: exit.refused,
    title: 'A process cannot be stopped.',
    why: 'It did not end after SIGTERM and SIGKILL, or it belongs to somebody else.',
    fix: 'Look at the process with `ps -fp PID`, then run the command again.',
  },
  'LKO-3007': {
    exit: exit.notReady,
    title: 'The hub is not running.',
    why: "An edge joins a hub that is up: the hub's Vault signs the edge's issuer, and its gateway must answer.",
    fix: 'Bring the hub up first with `lkeobs hub init`.',
  },
  'LKO-3101': {
    exit: exit.notReady,
    title: 'The cluster cannot be found.',
    why: 'The kubeconfig has no such context, or there is no kubeconfig. The fleet file names the context of every cluster (platform.kubernetes.context), and may name the kubeconfig; otherwise KUBECONFIG or ~/.kube/config is read.',
    fix: 'Name one of the contexts the message lists, or point KUBECONFIG to the file that has it.',
  },
  'LKO-3102': {
    exit: exit.notReady,
    title: 'The cluster does not answer.',
    why: 'The API server of the context refused the connection, timed out, or presented a certificate that the kubeconfig does not trust.',
    fix: 'See whether `kubectl --context CONTEXT get --raw /readyz` answers: a VPN, an access list of the control plane, or an old kubeconfig are the usual reasons.',
  },
  'LKO-3103': {
    exit: exit.notReady,
    title: 'The cluster does not permit this.',
    why: 'The user of the kubeconfig context is unknown to the cluster, or lacks a permission that is needed. Nothing was changed by the refused request.',
    fix: '`lkeobs doctor` lists every permission that is needed and missing; let an administrator of the cluster grant them.',
  },
  'LKO-3104': {
    exit: exit.refused,
    title: 'An image cannot be pulled.',
    why: 'The node cannot get the image: it does not exist, the registry refuses the node, or cannot be reached. Kubernetes goes on trying, but nothing will change by itself.',
    fix: 'Mend the pull secret, the mirror or the network of the node, then run the command again: it goes on from there.',
  },
  'LKO-3105': {
    exit: exit.refused,
    title: 'A pod cannot be scheduled.',
    why: 'No node has what the pod asks for: processor time, memory, or a place where its taints, affinity and volumes fit.',
    fix: 'Add a node, make room, or lower what is asked for in the fleet file; then run the command again: it goes on from there.',
  },
  'LKO-3106': {
    exit: exit.refused,
    title: 'A container does not start, or crashes again and again.',
    why: 'The container ends each time it is started, or lacks a Secret, ConfigMap or volume it is to be started with. Its last log lines stand above.',
    fix: 'Mend what the log or the event names, then run the command again: it goes on from there.',
  },
  'LKO-3107': {
    exit: exit.refused,
    title: 'A volume cannot be had.',
    why: 'The claim waits for a volume that nobody will make: there is no storage class, not the one that is named, or its provisioner refuses.',
    fix: '`kubectl get storageclass` shows what there is; name one in the fleet file (platform.kubernetes.storageClass) or make one the default, then run the command again.',
  },
  'LKO-3108': {
    exit: exit.refused,
    title: 'The cluster refuses an object.',
    why: 'An admission webhook, a policy, the pod security level of the namespace or a quota does not admit the object. Who refuses, and in which words, stands above.',
    fix: 'Mend the policy or the quota, or make an exception for it; when a webhook does not answer, mend or remove the webhook. Then run the command again.',
  },
  'LKO-3109': {
    exit: exit.refused,
    title: 'A field belongs to someone else.',
    why: 'Another tool applies the same field of the same object with another value. Taking it would start a fight that neither wins, so it is left as it is. What a person changed by hand with kubectl is put back instead.',
    fix: 'Let the other tool give the field up, or change the fleet file so that both wish for the same; then run the command again.',
  },
  'LKO-3110': {
    exit: exit.refused,
    title: 'A release of that name is somebody else\u2019s.',
    why: 'The namespace has a Helm release of the same name from another chart, or objects of that name that another release owns. Helm says: cannot re-use a name that is still in use.',
    fix: 'See whose it is with `helm list -A`; remove or rename that release, then run the command again.',
  },
  'LKO-3111': {
    exit: exit.refused,
    title: 'An object cannot go away.',
    why: 'The object was deleted, but a finalizer holds it: whoever should have cleaned up behind it is gone or cannot. Until it is gone it cannot be made anew.',
    fix: 'Let the owner of the finalizer do its work; where the owner no longer exists, remove the finalizer with the command above.',
  },
  'LKO-3112': {
    exit: exit.notReady,
    title: 'This is another cluster.',
    why: 'The context leads to a cluster that belongs to another fleet or plays another part in this one. The namespace lkeobs says which.',
    fix: 'Mend platform.kubernetes.context in the fleet file.',
  },
  'LKO-3113': {
    exit: exit.notReady,
    title: 'A chart cannot be had.',
    why: 'The folder of charts (--charts, LKEOBS_CHARTS) lacks the chart at the pinned version, or its repository cannot be reached.',
    fix: 'Fill a folder with `lkeobs charts pull --charts DIR` on a machine that reaches the repositories, and name it with --charts or LKEOBS_CHARTS.',
  },
  'LKO-3114': {
    exit: exit.notReady,
    title: 'Other versions are installed.',
    why: 'What is installed was made by another version. Changing versions is a decision of its own, so `hub init` and `edge join` leave it alone; a step back, one over more than one major version, or a chart that the cluster is too old for, is not carried at all.',
    fix: 'See what would change, and change it, with `lkeobs hub upgrade` or `lkeobs edge upgrade NAME`; where the step is refused, use the version of lkeobs that lies between.',
  },
  'LKO-3115': {
    exit: exit.refused,
    title: 'There is no address to dial.',
    why: 'The LoadBalancer Service of the gateway has no address: the cluster has no controller that gives one, or that controller refuses.',
    fix: 'See `kubectl -n lkeobs describe service otlp`; on a cluster without load balancers name what edges dial in the fleet file (hub.endpoint).',
  },
  'LKO-3116': {
    exit: exit.notReady,
    title: 'The name means another cluster.',
    why: 'The first time an edge joins, the hub remembers which cluster its name means: by the UID of the namespace kube-system, or in a lab by an id in its state folder. What was found now is another cluster: a wrong context, a changed kubeconfig, or a cluster that was made anew. Nothing was changed.',
    fix: 'Mend platform.kubernetes.context or platform.kubernetes.kubeconfig in the fleet file. Where the cluster was made anew on purpose, bind the name to it with `lkeobs edge join NAME --rebind`.',
  },
  'LKO-4001': {
    exit: exit.notReady,
    title: 'A program is missing.',
    why: 'An external program this command drives is not installed at the pinned version.',
    fix: 'Run `lkeobs tools install`; `lkeobs tools list` shows what is there and where it came from.',
  },
  'LKO-4002': {
    exit: exit.notReady,
    title: 'A program cannot be had.',
    why: "Neither the PATH, nor the publisher's release, nor a language registry could give the pinned version. Each way's reason stands above. Nothing half-installed was kept.",
    fix: 'Open one of the ways: put the right version on PATH, let the machine reach the release page or name a mirror with LKEOBS_RELEASE_MIRROR, or let it reach the language registry (Go and Python are needed for some).',
  },
  'LKO-4003': {
    exit: exit.refused,
    title: 'A program said no.',
    why: 'An external program that was started ended with an error. Its command, exit code and last lines stand above.',
    fix: 'Mend what the program names, then run the command again: it goes on from there.',
  },
  'LKO-4004': {
    exit: exit.usage,
    title: 'There is no such program.',
    why: 'The name is not among the pinned programs.',
    fix: '`lkeobs tools list` shows the names.',
  },
  'LKO-4101': {
    exit: exit.usage,
    title: 'No registry is named.',
    why: 'An image is pushed to a repository of a registry. Neither --registry nor `collector.registry` in the fleet file names one, or what it names is no HOST/REPOSITORY.',
    fix: 'Name it: `lkeobs images push --registry registry.example/team/otelcol`, or `collector: {registry: registry.example/team/otelcol}` in the fleet file.',
  },
  'LKO-4102': {
    exit: exit.notReady,
    title: 'The registry cannot be reached.',
    why: 'The name is unknown, nothing listens at the address, the connection broke off, or there was no answer in time. Blobs that the registry has already taken stay there and are not sent again.',
    fix: 'Check the host and port in `collector.registry` and the way to it, then run the command again: it goes on from there.',
  },
  'LKO-4103': {
    exit: exit.refused,
    title: 'The registry does not permit it.',
    why: 'The registry asked for credentials and none are stored for it, or it refused them, or they do not permit a push to this repository. Credentials come from --username with --password-stdin, or from the Docker configuration (`~/.docker/config.json`, or the folder that DOCKER_CONFIG names) and its credential helpers.',
    fix: 'Log in with `docker login HOST`, or pass the credentials: `lkeobs images push --username NAME --password-stdin < FILE`. The account needs permission to push to the repository.',
  },
  'LKO-4104': {
    exit: exit.notReady,
    title: 'The TLS connection to the registry failed.',
    why: 'The certificate of the registry is signed by a CA that this machine does not trust, has expired, or has another name; or one side speaks TLS and the other one does not. The command sends nothing until the certificate is verified.',
    fix: 'Give the CA certificate of the registry with --registry-ca FILE. For a registry without TLS use --plain-http; without that flag plain HTTP is used only for a registry on this machine.',
  },
  'LKO-4105': {
    exit: exit.refused,
    title: 'The registry does not know the repository.',
    why: 'The registry answered that there is no such repository (NAME_UNKNOWN, NAME_INVALID), or it does not speak the OCI Distribution API at this address. Some registries (Amazon ECR, for example) create no repository on push.',
    fix: 'Create the repository in the registry, or correct `collector.registry`, then run the command again.',
  },
  'LKO-4106': {
    exit: exit.refused,
    title: 'The registry refused the upload.',
    why: 'The registry answered with an error that is about the content, a quota, a policy or the registry itself; the message has its words. Nothing in the fleet file was changed. Blobs that the registry has already taken stay there and are not sent again.',
    fix: 'Fix what the registry reports, then run the command again: it goes on from there.',
  },
  'LKO-4107': {
    exit: exit.usage,
    title: 'The image archive cannot be used.',
    why: 'There is no such file, it is no OCI image layout in a tar, or the content of a blob does not have the digest that its name states.',
    fix: 'Build it again with `lkeobs images build`, or name another file with --image.',
  },
  'LKO-4108': {
    exit: exit.usage,
    title: 'The collector image has no receiver for GPU metrics.',
    why: 'The cluster has nodes with GPUs, whose exporter the agent scrapes. The collector of the build `lkeobs` has no Prometheus receiver, and its agent would not start there.',
    fix: 'Let this fleet run the collector of its publisher: `collector: {build: upstream}` in the fleet file, without `collector.image`. What is weaker then, docs/data-plane.md says.',
  },
  'LKO-5001': {
    exit: exit.notReady,
    title: 'Vault does not answer.',
    why: "The address refused the connection, timed out, or presented a certificate that the cluster's CA did not sign.",
    fix: 'See whether it runs with `lkeobs lab status` or, on Kubernetes, `lkeobs hub status`; `lkeobs lab up`, `hub init` and `edge join` start what does not run.',
  },
  'LKO-5002': {
    exit: exit.refused,
    title: 'Vault refused a request.',
    why: "Vault answered with an error status. The path and Vault's own words stand above; what was sent is never printed.",
    fix: 'Mend what Vault names, then run the command again.',
  },
  'LKO-5010': {
    exit: exit.usage,
    title: 'A secret is needed and nobody can be asked.',
    why: 'Passwords, tokens and shares are typed without being seen, or read from a file or pipe that a flag names. Here is neither a terminal nor such a file.',
    fix: 'Run the command on a terminal, or give the secret through a pipe: `--password-file -` reads a line of stdin, `--password-file <(pass show vault)` a pipe.',
  },
  'LKO-5011': {
    exit: exit.notReady,
    title: 'A key cannot be used.',
    why: 'Shares are encrypted to the keys of their holders. A key that is expired, revoked, without a part to encrypt to, of an algorithm that is not accepted, or given twice would only be found out when the share is needed. Nothing was changed.',
    fix: 'Have the holder export the right public key (`gpg --armor --export NAME`), and replace the file.',
  },
  'LKO-5012': {
    exit: exit.usage,
    title: 'This Vault is not opened by holders.',
    why: 'The ceremony is for a hub whose fleet file says `seal: shamir`. A Vault with another seal unseals itself.',
    fix: 'Name holders, threshold and custodian under hub.vault in the fleet file; docs/vault.md shows how.',
  },
  'LKO-5013': {
    exit: exit.notSettled,
    title: 'Not every holder has answered.',
    why: 'Before Vault is initialised, each holder and the custodian prove that they can decrypt what is encrypted to their key. Vault was not initialised.',
    fix: 'Give each their file NAME.challenge.asc; they run `lkeobs vault answer NAME.challenge.asc` and send back the line it prints. Then run the same command with --answer.',
  },
  'LKO-5014': {
    exit: exit.refused,
    title: 'An answer is not the one expected.',
    why: 'The line is of another challenge, of another ceremony, or was changed on its way. Nothing was changed.',
    fix: 'Have the holder answer the challenge in the folder of this ceremony, and give the new line.',
  },
  'LKO-5015': {
    exit: exit.notSettled,
    title: 'Holders are needed.',
    why: 'The ceremony goes on when enough holders have given their shares. What is done so far stays as it is.',
    fix: 'Each holder types what stands above, on their own machine. Then run the same command again, or run it with --wait.',
  },
  'LKO-5016': {
    exit: exit.refused,
    title: 'The administrator cannot log in.',
    why: 'Vault refused the password of its administrator.',
    fix: 'Give the password that was chosen in `lkeobs vault init`. Where it is lost, holders make a new root token with `lkeobs vault generate-root`, for which an administrator is needed, too.',
  },
  'LKO-5017': {
    exit: exit.notReady,
    title: 'Others hold the shares than the fleet file says.',
    why: 'The shares were given to the holders of an earlier fleet file. Changing the file does not change who can open Vault.',
    fix: 'Bring the shares to the holders of the fleet file with `lkeobs vault rekey`, or put the earlier holders back.',
  },
  'LKO-5018': {
    exit: exit.refused,
    title: 'Vault is initialised, and its shares are not here.',
    why: 'Vault was initialised by somebody else, or by a run that was killed in the moment between the request and the answer. In the second case nobody has the shares and nothing is in Vault yet. It is never initialised again by itself.',
    fix: 'Where it is a Vault that was never used, begin again with `lkeobs vault init --start-over`; on Kubernetes, remove its volumes. Otherwise bring reply.json back into the folder of the ceremony.',
  },
  'LKO-5019': {
    exit: exit.refused,
    title: 'This is not a root token.',
    why: 'Vault does not know the token, or it is not a root token.',
    fix: 'Have the custodian decrypt root-token.asc and give what it says: `gpg --quiet --decrypt root-token.asc`.',
  },
  'LKO-5020': {
    exit: exit.refused,
    title: 'The root token is still accepted.',
    why: 'It was revoked, and Vault answered a request with it all the same.',
    fix: 'Run the same command again; do not go on before the token is refused.',
  },
  'LKO-5021': {
    exit: exit.refused,
    title: 'This is not a share.',
    why: 'A share is a line of hexadecimal digits, or of base64. Nothing was sent.',
    fix: 'Give the envelope itself with --envelope, or what `gpg --quiet --decrypt NAME.share.asc` prints.',
  },
  'LKO-5022': {
    exit: exit.refused,
    title: 'gpg cannot do it.',
    why: 'The message is not encrypted to a key you have, the key is locked, or gpg is not there. Its own words stand above.',
    fix: 'See `gpg --list-secret-keys`; with a smartcard, see `gpg --card-status`.',
  },
  'LKO-5023': {
    exit: exit.refused,
    title: 'One of the shares is wrong.',
    why: 'Enough shares were given and together they do not open Vault: one of them is old, of another Vault, or mistyped. Vault cannot say which. Its progress is back to none; nothing is broken.',
    fix: 'All holders of this attempt give their shares again. After a rekey only the new envelopes count.',
  },
  'LKO-5024': {
    exit: exit.refused,
    title: 'This share was given already.',
    why: 'Each holder counts once in an attempt.',
    fix: 'Another holder gives the next share.',
  },
  'LKO-5025': {
    exit: exit.refused,
    title: 'This is another attempt.',
    why: 'The attempt under way has another nonce than the one you were told: somebody began another. The share was not given.',
    fix: 'Ask whoever leads the ceremony which nonce is the right one.',
  },
  'LKO-5026': {
    exit: exit.refused,
    title: 'The attempt is over.',
    why: 'The attempt that the share was for is no longer under way: it was reset, its time has passed, or the node that kept it was restarted.',
    fix: 'Ask whoever leads the ceremony; give the share again to the attempt they begin.',
  },
  'LKO-5027': {
    exit: exit.done,
    title: 'Vault is unsealed already.',
    why: 'Every node is unsealed; no share is needed, and none was asked for.',
    fix: 'Nothing is to be done.',
  },
  'LKO-5028': {
    exit: exit.notReady,
    title: 'Vault is not initialised.',
    why: 'There is nothing to unseal yet: the nodes run and hold nothing.',
    fix: 'Run `lkeobs vault init`.',
  },
  'LKO-5029': {
    exit: exit.checksFailed,
    title: 'The transcript does not hold.',
    why: 'Each line of a transcript names the digest of the line before it. The line above was changed, is missing, or is not in its place; or the signature is not of this file.',
    fix: 'Compare with the copy that the witness took.',
  },
  'LKO-5030': {
    exit: exit.refused,
    title: 'Another attempt is under way.',
    why: 'Vault makes one rotation of its shares, or one root token, at a time, and this one was not begun from here.',
    fix: 'Find out who began it. `--cancel` ends it.',
  },
  'LKO-5031': {
    exit: exit.refused,
    title: 'The ticket is not accepted.',
    why: 'A ticket lets a holder take part in one attempt, for a limited time. Vault refused it.',
    fix: 'Ask whoever leads the ceremony for a new one.',
  },
  'LKO-5201': {
    exit: exit.refused,
    title: 'The snapshot is damaged.',
    why: 'A snapshot of Vault is a packed archive with the sums of its files in it. It cannot be unpacked, or a file does not match its sum: it was cut off on its way, or is something else. Nothing was restored.',
    fix: 'Take another copy of it; `lkeobs vault restore FILE --drill` tells whether one can be restored, and should follow each `lkeobs vault snapshot`.',
  },
  'LKO-5202': {
    exit: exit.refused,
    title: 'The snapshot has another seal.',
    why: 'A snapshot can be opened only by the seal of the Vault it was taken from: the same static key, the shares of then, or for an edge with seal transit the same key in the hub. The node saw that it cannot, before anything was replaced.',
    fix: "Bring back that seal: the file `seal.key` of the cluster's Vault (on Kubernetes the Secret vault-seal), or for an edge restore the hub first. A snapshot of before a rekey is opened by the shares of before: restore it into nodes that hold nothing. Without its seal nobody can open a snapshot.",
  },
  'LKO-5203': {
    exit: exit.usage,
    title: 'The snapshot is of another cluster.',
    why: 'The note beside the snapshot, or the drill marker inside it, names another cluster than the one it is to be restored into. Nothing was restored.',
    fix: 'Name the cluster it is of (`lkeobs vault restore FILE CLUSTER`), or take the right file.',
  },
  'LKO-5204': {
    exit: exit.refused,
    title: 'This Vault holds data.',
    why: 'Restoring replaces all that a Vault holds: certificates issued, edges registered and keys of edges made since the snapshot would be gone. A Vault into which nothing was written yet is replaced when agreed; this one is not one of them.',
    fix: 'Take a snapshot of it first; then, if it is to be replaced all the same, add --force.',
  },
  'LKO-5205': {
    exit: exit.checksFailed,
    title: 'The drill did not read the marker back.',
    why: 'The snapshot was restored into a throw-away node, and that could not be opened, its administrator could not log in, or the marker that `vault snapshot` writes was not in it. The throw-away node is gone.',
    fix: "Take a new snapshot with `lkeobs vault snapshot` and drill that. Where the login was refused, the administrator's password was changed since the snapshot was taken: bring back the one of then.",
  },
  'LKO-5206': {
    exit: exit.notReady,
    title: 'A seal cannot be switched.',
    why: 'A Vault can be opened only by the seal it was founded with. The fleet file wishes for another one; started with it, the Vault would stay closed.',
    fix: 'Put the seal back in the fleet file. To found an edge anew with another seal, remove what it keeps (on this machine .lkeobs/EDGE after `lkeobs lab down`, on Kubernetes the volumes of Vault) and join it again: its issuer changes, its telemetry is at the hub. A hub that is founded anew has lost its PKI, and every edge joins again.',
  },
  'LKO-5207': {
    exit: exit.notReady,
    title: "The hub's Vault cannot be reached by edges.",
    why: 'An edge with seal transit asks the Vault of the hub whenever its own starts. On Kubernetes that Vault is closed to everybody outside of its cluster, unless you open a way and name it.',
    fix: 'Open a TCP way from the edges to port 8200 of the Vault of the hub, name it in the fleet file (hub.vault.endpoint); or use seal static.',
  },
  'LKO-5208': {
    exit: exit.notReady,
    title: 'The drill needs what is not there.',
    why: 'To open a snapshot in a throw-away node, its seal is needed: the static key, or for seal transit the token of the edge and the hub that answers. Of a Vault that holders open, the note FILE.json says what is in the snapshot; without it, holders have to open the throw-away node.',
    fix: 'Bring what the message names, then run the drill again; with --holders where the note of a snapshot is lost.',
  },
  'LKO-5209': {
    exit: exit.refused,
    title: 'The key that unseals an edge is gone.',
    why: 'The edge was founded with a key in the Vault of the hub, and the hub no longer has it: it was founded anew, or restored from a snapshot that is older than the edge. A new key would open neither the Vault of the edge nor its snapshots, so none is made.',
    fix: 'Restore a snapshot of the hub that is younger than the edge. Where there is none, found the edge anew: remove what its Vault keeps (on this machine .lkeobs/EDGE after `lkeobs lab down`, on Kubernetes the volume of Vault and the Secret vault-seal-token) and join it again.',
  },
  'LKO-5210': {
    exit: exit.notReady,
    title: 'A restore was broken off.',
    why: 'A Vault that holders open takes a snapshot only when it is open. One that holds nothing is therefore initialised for a moment with a share that nobody sees, and a run that is killed in that moment leaves a Vault that nobody can open. On this machine the next run removes it, since the file restore.json said before that it is worth nothing. Without that file nothing is removed.',
    fix: 'See that nothing of worth is in it: seal status shows one share of one. Then remove what its nodes keep (on this machine .lkeobs/HUB/vault-*/data after `lkeobs lab down`, on Kubernetes the volumes of Vault), and run the same command again.',
  },
  'LKO-5301': {
    exit: exit.notReady,
    title: 'The root CA cannot be rotated from here.',
    why: 'Everybody who trusts the root CA of the hub has to be told of another one before it signs anything. That is done for a hub and edges whose clusters are on this machine and in this fleet file. On Kubernetes the root CA is kept by cert-manager, or in a Secret; an edge that is looked after elsewhere cannot be told. Nothing was changed.',
    fix: 'The message names the cluster. Rotate its leaves and issuers, which is what ends first; a root CA lives ten years.',
  },
  'LKO-5302': {
    exit: exit.notReady,
    title: 'This certificate cannot be rotated from here.',
    why: 'A rotation is done when the new certificate is seen in use. An agent shows its leaf to the gateway alone, so its connections are watched instead, which takes Linux for agents of this machine. What is looked after elsewhere can neither be asked nor be seen. Nothing was changed.',
    fix: 'Leave it to who renews it by itself: `lkeobs certs status` says who, and when.',
  },
  'LKO-6001': {
    exit: exit.usage,
    title: 'This is not a whole invite.',
    why: 'An invite is one string with a sum at its end. What was given does not begin like one, or some of its characters are missing or changed. Nothing was asked of the hub, and nothing was changed.',
    fix: 'Paste all of it; where it is lost, have a new one made on the hub with `lkeobs edge invite NAME`.',
  },
  'LKO-6002': {
    exit: exit.refused,
    title: 'The invite has expired.',
    why: 'An invite holds for the time it was made for, an hour unless said otherwise. Nothing was asked of the hub, and nothing was changed. A clock that is wrong makes it look so too.',
    fix: 'Have a new one made on the hub with `lkeobs edge invite NAME`, with a longer --ttl where it has to travel.',
  },
  'LKO-6003': {
    exit: exit.usage,
    title: 'The invite is for another edge.',
    why: 'An invite is bound to the name it was made for. Nothing was asked of the hub, and nothing was changed.',
    fix: 'Use it for the edge that the message names, or have one made for this edge.',
  },
  'LKO-6004': {
    exit: exit.refused,
    title: 'The invite was used already, or revoked.',
    why: 'An invite belongs to the first machine that shows it, which alone may go on with it. The hub has been shown this one by another key than that of this folder, or no longer knows it. Nothing was changed here, nor on the hub. If it was not you who used it, somebody has read it on its way.',
    fix: 'Where nobody of yours has used it, run `lkeobs edge evict NAME` on the hub at once. Then have a new invite made, and bring it here another way.',
  },
  'LKO-6005': {
    exit: exit.refused,
    title: 'Who answers is not the hub of the invite.',
    why: 'An invite names the key of the root CA of its hub. Whoever answers at the address in it shows another one: the hub was founded anew since, the address leads elsewhere, or somebody stands between. The invite was not shown to it, and nothing was changed.',
    fix: 'See that the address in the message is that of the hub, and have a new invite made there.',
  },
  'LKO-6006': {
    exit: exit.refused,
    title: 'The edge cannot be invited.',
    why: 'An invite is for an edge that is looked after elsewhere and has not joined. The message says what this one is.',
    fix: 'An edge of this fleet file is joined with `lkeobs edge join NAME`. One that has joined already needs no invite; one that is to join anew is evicted first, with `lkeobs edge evict NAME`.',
  },
  'LKO-6007': {
    exit: exit.refused,
    title: 'These are not the words of the edge.',
    why: 'Both sides derive four words from the key of the edge and that of the hub. Those that were given are others than those of the edge that asks, so it is not the one whose operator read them out, or they were misheard. It was not accepted.',
    fix: 'Compare once more. Where they differ, somebody else has used the invite: `lkeobs edge evict NAME`, and invite the edge again.',
  },
  'LKO-6008': {
    exit: exit.notSettled,
    title: 'The other side has not come yet.',
    why: 'Joining by invite takes both sides: the edge asks with `edge join --invite`, the hub agrees with `edge accept`. One of them waited for the other until its time was over. What is done stays.',
    fix: 'Run the command of the other side, then this one again: it goes on from there.',
  },
  'LKO-6009': {
    exit: exit.notReady,
    title: 'This cluster is looked after elsewhere.',
    why: 'The fleet file here knows of this cluster only that it exists: another folder, often on another machine, has the means to work on it.',
    fix: 'Run the command where that cluster is looked after.',
  },
  'LKO-6010': {
    exit: exit.notReady,
    title: 'Edges cannot reach the Vault of the hub.',
    why: 'An edge with an invite asks the Vault of the hub to sign its issuer. On Kubernetes that Vault is closed to everybody outside of its cluster, unless you open a way and name it.',
    fix: 'Open a TCP way from the edges to port 8200 of the Vault of the hub and name it in the fleet file (hub.vault.endpoint).',
  },
  'LKO-6011': {
    exit: exit.fleetFile,
    title: 'This folder is of another fleet.',
    why: 'An edge that joins by invite gets a fleet file that says where its hub is. The one that is here names another hub, or one that is looked after here. Nothing was changed.',
    fix: 'Join from an empty folder, or name another file with --fleet.',
  },
  'LKO-7101': {
    exit: exit.refused,
    title: 'Nothing listens where the destination should be.',
    why: 'The machine answers, and refuses the connection: the port is another, or the program behind it does not run. Nothing was changed.',
    fix: 'Compare host and port with what the destination says of itself. Splunk listens for its HTTP Event Collector on 8088 unless told otherwise, OTLP on 4317 (gRPC) and 4318 (HTTP).',
  },
  'LKO-7102': {
    exit: exit.refused,
    title: 'The destination has no such name.',
    why: 'The name in its address cannot be resolved from this machine. Nothing was changed.',
    fix: 'Mend the name, or add it where names are kept. Where only the gateway can resolve it, --force skips the probe.',
  },
  'LKO-7103': {
    exit: exit.refused,
    title: 'The destination does not answer.',
    why: 'No answer came within 10 s, or the connection ended before there was one: a firewall drops what is sent, there is no way there, or who is there speaks something else. Nothing was changed.',
    fix: 'Open the way from here. Where only the gateway has a way, --force skips the probe.',
  },
  'LKO-7104': {
    exit: exit.refused,
    title: 'The certificate of the destination is not trusted.',
    why: 'It was signed by a CA that is neither the one given nor one of those that this machine trusts anyway. The secret was not sent. Nothing was changed.',
    fix: 'Give the CA of the destination with --ca-file. Splunk signs its own certificate unless told otherwise: the CA is cacert.pem in its folder etc/auth.',
  },
  'LKO-7105': {
    exit: exit.refused,
    title: 'The certificate of the destination does not hold.',
    why: 'It has ended, has not begun, or is of another name than the one in the address. The secret was not sent. Nothing was changed.',
    fix: 'Use a name that is in the certificate, or have it renewed there.',
  },
  'LKO-7106': {
    exit: exit.refused,
    title: 'The destination speaks another protocol.',
    why: 'The address begins with https:// and plain HTTP is spoken there, or the other way round; or gRPC is spoken where HTTP was tried, or HTTP where gRPC was. Nothing was changed.',
    fix: 'Change the beginning of the address, or --protocol. Without TLS the secret goes over the wire for everybody to read.',
  },
  'LKO-7107': {
    exit: exit.refused,
    title: 'The destination wants another certificate of the gateway.',
    why: 'It ended the handshake because it was shown no certificate, or one of a CA that it does not trust. Nothing was changed.',
    fix: 'Give a certificate and its key that the destination trusts, with --client-certificate, --cert-file and --key-file.',
  },
  'LKO-7108': {
    exit: exit.refused,
    title: 'The destination refuses the token or key.',
    why: 'It answers, and does not let in who shows this secret: it is mistyped, disabled, of another account, or may not write there. Nothing was changed.',
    fix: 'Give the right one; on a terminal it is asked for unseen. For Splunk, the token is that of an HTTP Event Collector input, and the input is enabled.',
  },
  'LKO-7109': {
    exit: exit.refused,
    title: 'The token may not write to this index.',
    why: 'Splunk takes the token and refuses the event: there is no such index, or it is not among those the token may write to. What is sent there later would be refused for good, and lost. Nothing was changed.',
    fix: 'Name an index that is allowed for the token, or allow this one in the settings of the input.',
  },
  'LKO-7110': {
    exit: exit.refused,
    title: 'Who answers there is not that destination.',
    why: 'There is an answer, and not the one that this kind of destination gives: a proxy, a login page or another program stands at that address, or the path is another. A proxy that answers 200 to everything would take all telemetry and keep none of it. Nothing was changed.',
    fix: 'Mend the address. Where a proxy is in the way, let the gateway past it.',
  },
  'LKO-7111': {
    exit: exit.refused,
    title: 'The destination is busy.',
    why: 'It is the right one, and takes nothing at the moment. Nothing was changed.',
    fix: 'Run the same command again later; or --force, and what is sent meanwhile waits in the queue.',
  },
  'LKO-7112': {
    exit: exit.refused,
    title: 'The token wants acknowledgements.',
    why: 'The token has indexer acknowledgement enabled, and then Splunk asks for a data channel with every request; the exporter of the collector has none. Nothing was changed.',
    fix: 'Disable indexer acknowledgement of this token in Splunk, or give a token without it.',
  },
  'LKO-7113': {
    exit: exit.refused,
    title: 'The destination refused what was sent.',
    why: 'It answers as its kind does, with an error that is none of those with a code of their own. Its words are above. Nothing was changed.',
    fix: 'Act on its words.',
  },
  'LKO-7114': {
    exit: exit.usage,
    title: 'The fleet has no such destination.',
    why: 'The name is not among the destinations of the fleet file.',
    fix: 'Use one of the names the message lists, or add it with `lkeobs dest add`.',
  },
  'LKO-7115': {
    exit: exit.notReady,
    title: 'A secret of a destination is not in Vault.',
    why: 'The destination is in the fleet file, and the Vault of the hub does not have what it asks for: the file came from elsewhere, or Vault was founded anew. The gateway was left as it is.',
    fix: 'Give the secret again with the command above; or take the destination out of the file.',
  },
  'LKO-7116': {
    exit: exit.notReady,
    title: 'This collector cannot send to that kind of destination.',
    why: "The program otelcol of this machine was built without the exporter. The publisher's distribution contrib has it, and so has the image that runs on Kubernetes. Nothing was changed.",
    fix: 'Put otelcol-contrib of the pinned version on PATH, and run `lkeobs tools install otelcol`; or use a hub on Kubernetes.',
  },
  'LKO-7117': {
    exit: exit.notSettled,
    title: 'No canary passed through the new exporter.',
    why: 'The destination is in the fleet file and the gateway sends to it, and the canary was refused or has not come through. What is meant for it waits in its queue; the stores of the hub and other destinations are not held up.',
    fix: "The exporter's words are above. Run the same command again when it is mended; it goes on from there.",
  },
  'LKO-7118': {
    exit: exit.usage,
    title: 'This is no destination.',
    why: 'A flag is missing, has a value that is none, or belongs to another kind of destination. Nothing was asked of anybody, and nothing was changed.',
    fix: '`lkeobs dest add --help` says which flags each kind has.',
  },
  'LKO-8001': {
    exit: exit.someFailed,
    title: 'Some edges failed.',
    why: 'The work runs over several edges side by side; a failing edge does not stop the others. Each failure stands above with its own code.',
    fix: 'Mend the named edges and run the same command again: the others are skipped.',
  },
  'LKO-9001': {
    exit: exit.usage,
    title: 'There is no such load test.',
    why: 'A load test is named by its run, as `loadtest list` shows it, or by a file that `loadtest run --json` has written. What was named is neither, or the file holds something else.',
    fix: '`lkeobs loadtest list` names those that are kept beside the fleet file, in .lkeobs/loadtests.',
  },
  'LKO-9002': {
    exit: exit.usage,
    title: 'The load tests are not alike.',
    why: 'Figures of two runs say something about what changed only where all else was the same: platform, machine, versions of the programs, configuration of the collectors and stores, profile, number of edges. The message names what was not.',
    fix: 'Compare runs that are alike. Where the difference is what you want to measure, name it: `--despite versions`.',
  },
  'LKO-9010': {
    exit: exit.usage,
    title: 'There is no such load profile.',
    why: 'A profile says how many items a second are sent, and for how long. It is one of those lkeobs brings, or a YAML file; each line above names a place in it and what is expected there. Nothing was sent.',
    fix: 'Name a profile (smoke, baseline, target, soak), or mend the file: docs/load-tests.md shows one.',
  },
  'LKO-9011': {
    exit: exit.notReady,
    title: 'The fleet is not ready for a load test.',
    why: 'A load test measures from rest: every agent and the gateway answer, and nothing waits in a queue. What was found is another picture, in which a loss could not be told from what was there before. Nothing was sent.',
    fix: 'Bring the fleet to rest: `lkeobs status` shows which queue is not empty or who does not answer.',
  },
  'LKO-9012': {
    exit: exit.notSettled,
    title: 'The load generators did not start.',
    why: 'On Kubernetes generators are pods beside the agents they feed, and these were not started within two minutes. What is known to be final ends a test sooner, with a code of its own; here the cluster went on trying. The generators were removed; what was sent before stays where it is.',
    fix: 'See what the pods waited for: the commands above. A first run brings the image to the nodes, and the next one has it.',
  },
} as const satisfies Record<string, Entry>

export type Code = keyof typeof catalogue

/** An error a person can cause and mend: a code from the catalogue, the actual facts, and the next command to type. */
export class LkeobsError extends Error {
  override readonly name = 'LkeobsError'
  readonly code: Code
  readonly title: string
  /** Commands to type next, filled in. */
  readonly next: readonly string[]
  /** Where oclif looks for the exit code. */
  readonly oclif: {readonly exit: number}

  constructor(code: Code, what: string, {next = [], cause}: {next?: readonly string[]; cause?: unknown} = {}) {
    super(what, cause === undefined ? undefined : {cause})
    const entry = catalogue[code]
    this.code = code
    this.title = entry.title
    this.next = [...next, `lkeobs explain ${code}`]
    this.oclif = {exit: entry.exit}
  }
}

/** What was asked for, or what an expected error makes of it: an answer that is missing must not end what is asked of others. */
export const orElse = async <T>(work: Promise<T>, otherwise: (error: LkeobsError) => T): Promise<T> => {
  try {
    return await work
  } catch (error) {
    if (error instanceof LkeobsError) return otherwise(error)
    throw error
  }
}

/** The message of anything thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
